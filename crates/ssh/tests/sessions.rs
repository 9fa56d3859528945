//! Sessions against a server in this process: what works, and each failure for what it is.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use nico_ssh::test_server::{Behaviour, Reply, TestServer, key, pem};
use nico_ssh::{
    ConnectError, Credentials, Deadlines, HostKeys, MAX_OUTPUT_BYTES, Phase, RunError, Session,
    Target, connect, fingerprint,
};

const HOST: u8 = 1;
const USER: u8 = 2;
const OTHER: u8 = 3;

/// Long enough for a busy machine; nothing waits for it when all is well.
const PATIENCE: Duration = Duration::from_secs(30);

fn patient() -> Deadlines {
    Deadlines {
        connect: PATIENCE,
        total: PATIENCE,
    }
}

fn server() -> Behaviour {
    Behaviour::new(key(HOST)).authorize(&key(USER))
}

fn target(address: SocketAddr) -> Target {
    Target {
        address: address.ip().to_string(),
        port: address.port(),
        user: "root".to_owned(),
        credentials: Credentials::default()
            .with_private_key(&pem(&key(USER)))
            .expect("a private key"),
        host_keys: HostKeys::Pinned(vec![key(HOST).public_key().clone()]),
    }
}

async fn session(behaviour: Behaviour) -> (TestServer, Session) {
    let server = TestServer::start(behaviour)
        .await
        .expect("the server starts");
    let session = connect(&target(server.address()), &patient())
        .await
        .expect("the server lets us in");
    (server, session)
}

async fn failure(target: &Target) -> ConnectError {
    connect(target, &patient())
        .await
        .expect_err("there is no session")
}

#[tokio::test]
async fn a_command_gets_stdin_and_gives_back_status_stdout_and_stderr() {
    let (_server, session) = session(server()).await;
    let output = session
        .run("cat; echo oops >&2; exit 7", b"hello", PATIENCE)
        .await
        .unwrap();
    assert_eq!(output.status, 7);
    assert!(!output.success());
    assert_eq!(output.stdout, b"hello");
    assert_eq!(output.stderr, b"oops\n");
}

#[tokio::test]
async fn commands_of_one_session_run_at_once() {
    let (_server, session) = session(server()).await;
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe");
    let pipe = pipe.to_str().unwrap();
    session
        .run(&format!("mkfifo {pipe}"), b"", PATIENCE)
        .await
        .unwrap();
    // Each side of a named pipe waits for the other.
    let reader_command = format!("cat {pipe}");
    let writer_command = format!("echo met > {pipe}");
    let (reader, writer) = tokio::join!(
        session.run(&reader_command, b"", PATIENCE),
        session.run(&writer_command, b"", PATIENCE),
    );
    assert_eq!(reader.unwrap().stdout, b"met\n");
    assert!(writer.unwrap().success());
}

#[tokio::test]
async fn big_input_and_output_pass_whole() {
    let (_server, session) = session(server()).await;
    let input: Vec<u8> = (0..3_000_000_u32)
        .map(|index| (index % 251) as u8)
        .collect();
    let output = session.run("cat", &input, PATIENCE).await.unwrap();
    assert!(
        output.stdout == input,
        "{} bytes came back",
        output.stdout.len()
    );
}

#[tokio::test]
async fn a_command_that_does_not_read_its_input_ends_all_the_same() {
    let (_server, session) = session(server().on_command(|_| Reply::stdout("done"))).await;
    let output = session
        .run("true", &vec![0; 5_000_000], PATIENCE)
        .await
        .unwrap();
    assert_eq!(output.stdout, b"done");
}

#[tokio::test]
async fn output_without_end_is_cut_off() {
    let endless = |_: &str| Reply::stdout(vec![b'x'; MAX_OUTPUT_BYTES + 1]);
    let (_server, session) = session(server().on_command(endless)).await;
    let error = session.run("yes", b"", PATIENCE).await.unwrap_err();
    assert!(matches!(error, RunError::TooMuchOutput { .. }), "{error}");
}

#[tokio::test]
async fn a_command_that_hangs_times_out_and_the_session_lives_on() {
    let hang = |command: &str| {
        if command == "hang" {
            Reply::Hang
        } else {
            Reply::Run
        }
    };
    let (_server, session) = session(server().on_command(hang)).await;
    let error = session
        .run("hang", b"", Duration::from_millis(50))
        .await
        .unwrap_err();
    assert!(matches!(error, RunError::TimedOut { .. }), "{error}");
    assert_eq!(
        session
            .run("echo still here", b"", PATIENCE)
            .await
            .unwrap()
            .stdout,
        b"still here\n"
    );
}

#[tokio::test]
async fn a_connection_that_is_dropped_during_a_command_is_lost() {
    let (_server, session) = session(server().on_command(|_| Reply::Drop)).await;
    let error = session.run("reboot", b"", PATIENCE).await.unwrap_err();
    assert!(matches!(error, RunError::ConnectionLost { .. }), "{error}");
    let error = session.run("true", b"", PATIENCE).await.unwrap_err();
    assert!(matches!(error, RunError::ConnectionLost { .. }), "{error}");
}

#[tokio::test]
async fn a_refused_command_and_a_killed_one_are_told_apart() {
    let (_refusing, session) = session(server().on_command(|_| Reply::Refuse)).await;
    let error = session.run("true", b"", PATIENCE).await.unwrap_err();
    assert!(matches!(error, RunError::Refused { .. }), "{error}");

    let killing = TestServer::start(server().on_command(|_| Reply::Kill))
        .await
        .unwrap();
    let session = connect(&target(killing.address()), &patient())
        .await
        .unwrap();
    let error = session.run("true", b"", PATIENCE).await.unwrap_err();
    assert!(
        matches!(&error, RunError::Signalled { signal, .. } if signal == "KILL"),
        "{error}"
    );
}

#[tokio::test]
async fn root_needs_no_sudo_and_others_do() {
    let echo = |command: &str| Reply::stdout(command);
    let server = TestServer::start(server().on_command(echo)).await.unwrap();
    let root = target(server.address());
    let session = connect(&root, &patient()).await.unwrap();
    assert_eq!(
        session
            .run_as_root("id -u", b"", PATIENCE)
            .await
            .unwrap()
            .stdout,
        b"id -u"
    );

    let admin = Target {
        user: "admin".to_owned(),
        ..root
    };
    let session = connect(&admin, &patient()).await.unwrap();
    let output = session.run_as_root("id -u", b"", PATIENCE).await.unwrap();
    assert_eq!(output.stdout, b"sudo -n -- sh -c 'id -u'");
}

#[tokio::test]
async fn the_first_host_key_is_reported_so_that_it_can_be_pinned() {
    let server = TestServer::start(server()).await.unwrap();
    let target = Target {
        host_keys: HostKeys::FirstUse,
        ..target(server.address())
    };
    let session = connect(&target, &patient()).await.unwrap();
    assert_eq!(session.host_key(), key(HOST).public_key());
}

#[tokio::test]
async fn another_host_key_than_the_pinned_one_is_refused_before_anybody_logs_in() {
    let server = TestServer::start(server()).await.unwrap();
    let pinned = HostKeys::Pinned(vec![key(OTHER).public_key().clone()]);
    let target = Target {
        host_keys: pinned,
        ..target(server.address())
    };
    let error = failure(&target).await;
    let message = error.to_string();
    let ConnectError::HostKeyChanged { seen, .. } = error else {
        panic!("{message}")
    };
    assert_eq!(seen.as_ref(), key(HOST).public_key());
    assert!(
        message.contains(&fingerprint(key(OTHER).public_key())),
        "{message}"
    );
    assert_eq!(server.logins(), 0);
}

#[tokio::test]
async fn a_key_that_is_not_authorized_fails_to_authenticate() {
    let server = TestServer::start(server()).await.unwrap();
    let credentials = Credentials::default()
        .with_private_key(&pem(&key(OTHER)))
        .unwrap();
    let error = failure(&Target {
        credentials,
        ..target(server.address())
    })
    .await;
    assert!(
        matches!(error, ConnectError::AuthenticationFailed { .. }),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .contains(&fingerprint(key(OTHER).public_key())),
        "{error}"
    );
}

#[tokio::test]
async fn the_password_is_used_when_no_key_works() {
    let behaviour = Behaviour {
        password: Some("sesame".to_owned()),
        ..server()
    };
    let server = TestServer::start(behaviour).await.unwrap();
    let wrong_key = Credentials::default()
        .with_private_key(&pem(&key(OTHER)))
        .unwrap();
    let login = |password: &str| Target {
        credentials: wrong_key.clone().with_password(password.to_owned().into()),
        ..target(server.address())
    };
    connect(&login("sesame"), &patient()).await.unwrap();
    let error = failure(&login("hunter2")).await;
    assert!(
        matches!(error, ConnectError::AuthenticationFailed { .. }),
        "{error}"
    );
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

#[tokio::test]
async fn without_credentials_nothing_is_tried() {
    let server = TestServer::start(server()).await.unwrap();
    let target = Target {
        credentials: Credentials::default(),
        ..target(server.address())
    };
    let error = failure(&target).await;
    assert!(
        matches!(error, ConnectError::MissingCredentials { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_port_where_nobody_listens_refuses_the_connection() {
    let free = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let error = failure(&target(address)).await;
    assert!(
        matches!(error, ConnectError::ConnectionRefused { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_a_dns_failure() {
    let target = Target {
        address: "nobody.invalid".to_owned(),
        ..target(([127, 0, 0, 1], 22).into())
    };
    let error = failure(&target).await;
    assert!(matches!(error, ConnectError::DnsFailure { .. }), "{error}");
    assert!(error.to_string().contains("nobody.invalid"), "{error}");
}

#[tokio::test]
async fn a_server_that_says_nothing_times_out_in_the_key_exchange() {
    let server = TestServer::start(Behaviour {
        silent: true,
        ..server()
    })
    .await
    .unwrap();
    let deadlines = Deadlines {
        connect: PATIENCE,
        total: Duration::from_millis(100),
    };
    let error = connect(&target(server.address()), &deadlines)
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            ConnectError::TimedOut {
                phase: Phase::KeyExchange,
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn something_that_does_not_speak_ssh_is_a_failed_connection() {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let error = failure(&target(address)).await;
    assert!(
        matches!(error, ConnectError::ConnectionFailed { .. }),
        "{error}"
    );
}
