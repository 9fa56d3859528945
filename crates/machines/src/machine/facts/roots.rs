//! The script on root file systems of several kinds, by their own shells and tools.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Map, Value};
use tempfile::TempDir;

use super::{SCRIPT, parse};

/// A root file system with hardly anything in it.
struct Root(TempDir);

/// The shell of a root. That of busybox has all of its tools built in; the other one has none.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shell {
    Busybox,
    Dash,
}

/// Of all that busybox offers, what the script may look for.
const APPLETS: &[&str] = &[
    "awk", "cat", "df", "grep", "head", "ip", "od", "readlink", "sed", "sort", "tr", "uname",
    "uniq",
];

impl Root {
    /// With these tools of busybox in `directory`. `None`, said loudly, where there is no
    /// busybox, no dash, or no right to change the root.
    fn new(shell: Shell, directory: &str, applets: &[&str]) -> Option<Self> {
        let find = |name: &str| crate::program::find(Path::new(name));
        let is_root = rustix::process::geteuid().is_root();
        let (Some(busybox), Some(dash), true) = (find("busybox"), find("dash"), is_root) else {
            nico_sandbox::tools::skip(
                "this test needs root and Debian's packages busybox-static and dash",
            );
            return None;
        };
        let root = Self(TempDir::new().unwrap());
        for directory in [
            "bin",
            "etc",
            "proc",
            "sys",
            "dev",
            "run",
            "nix/var/nix/profiles",
        ] {
            fs::create_dir_all(root.path(directory)).unwrap();
        }
        match shell {
            Shell::Busybox => root.install(&busybox, "bin/sh"),
            Shell::Dash => {
                root.install(&dash, "bin/sh");
                for library in libraries(&dash) {
                    root.install(&library, &library.to_string_lossy()[1..]);
                }
            }
        }
        if !applets.is_empty() {
            root.install(&busybox, "nix/busybox");
        }
        fs::create_dir_all(root.path(directory)).unwrap();
        for applet in applets {
            root.link(&format!("{directory}/{applet}"), "/nix/busybox");
        }
        Some(root)
    }

    fn install(&self, program: &Path, path: &str) {
        let to = self.path(path);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(program, &to).unwrap();
        fs::set_permissions(&to, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn write(&self, path: &str, content: &str) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), content).unwrap();
    }

    fn link(&self, path: &str, target: &str) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        symlink(target, self.path(path)).unwrap();
    }

    /// Everything that is in it, without what the kernel shows.
    fn listing(&self) -> String {
        let output = Command::new("find")
            .arg(self.0.path())
            .args(["-xdev", "-printf", "%p %y %s %T@\\n"])
            .output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    }

    /// Runs the script as a session would: over stdin, by the shell of the root.
    fn facts(&self) -> Map<String, Value> {
        let enter = "mount -t proc proc \"$1/proc\" && mount -t sysfs -o ro sysfs \"$1/sys\" && \
                     : >\"$1/dev/null\" && mount --bind /dev/null \"$1/dev/null\" && \
                     exec chroot \"$1\" /bin/sh -s";
        let before = self.listing();
        let mut unshare = Command::new("unshare");
        unshare
            .args(["--mount", "--uts", "sh", "-c", enter, "sh"])
            .arg(self.0.path())
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        let output = feed_script_to(&mut unshare);
        fs::remove_file(self.path("dev/null")).unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        let left: Vec<String> = difference(&before, &self.listing());
        assert_eq!(left, Vec::<String>::new(), "something was left behind");
        parse(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
    }
}

/// Runs a shell that reads the script from its standard input.
fn feed_script_to(shell: &mut Command) -> Output {
    let mut child = shell
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(SCRIPT.as_bytes()).unwrap();
    drop(stdin);
    child.wait_with_output().unwrap()
}

/// What a program is linked to.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let output = Command::new("ldd").arg(program).output().unwrap();
    String::from_utf8(output.stdout)
        .unwrap()
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .collect()
}

/// Lines of one listing that are not in the other; the folder of devices was touched by the test.
fn difference(before: &str, after: &str) -> Vec<String> {
    let is_new = |line: &&str| !before.contains(*line) && !line.contains("/dev d ");
    after.lines().filter(is_new).map(str::to_owned).collect()
}

fn at<'a>(facts: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    let (group, name) = path.split_once('.').unwrap();
    facts.get(group)?.get(name)
}

/// No value anywhere is a word for not knowing, or a number that is a text.
fn assert_is_honest(facts: &Map<String, Value>) {
    let text = serde_json::to_string(facts).unwrap().to_lowercase();
    for word in ["\"unknown\"", "\"n/a\"", "\"none\"", "\"\"", "null"] {
        let is_virtualization = word == "\"none\"" && text.contains("\"type\":\"none\"");
        assert!(!text.contains(word) || is_virtualization, "{word}: {text}");
    }
    for number in ["uptime.days", "cpu.cores", "cpu.threads", "memory.mb"] {
        if let Some(value) = at(facts, number) {
            assert!(value.is_u64(), "{number} is {value}");
        }
    }
}

const ALPINE: &str = "NAME=\"Alpine Linux\"\nID=alpine\nVERSION_ID=3.20.3\n\
                      PRETTY_NAME=\"Alpine Linux v3.20\"\n";

#[test]
fn alpine_with_busybox_tells_all_that_can_be_known_there() {
    let Some(root) = Root::new(Shell::Busybox, "bin", APPLETS) else {
        return;
    };
    root.write("etc/os-release", ALPINE);
    root.write("etc/resolv.conf", "search lan\nnameserver 192.0.2.53\n");
    root.write("etc/timezone", "Europe/Berlin\n");
    let facts = root.facts();
    assert_is_honest(&facts);
    assert_eq!(at(&facts, "os.id").unwrap(), "alpine");
    assert_eq!(at(&facts, "os.version").unwrap(), "3.20.3");
    assert_eq!(at(&facts, "system.timezone").unwrap(), "Europe/Berlin");
    assert_eq!(at(&facts, "network.dnsServers").unwrap()[0], "192.0.2.53");
    for present in [
        "kernel.version",
        "cpu.threads",
        "cpu.cores",
        "memory.mb",
        "uptime.days",
    ] {
        assert!(at(&facts, present).is_some(), "{present}: {facts:?}");
    }
    for absent in ["nix.version", "nixos.version", "os.variantId"] {
        assert_eq!(at(&facts, absent), None, "{absent}");
    }
    assert!(facts.contains_key("architecture"));
}

#[test]
fn a_container_with_hardly_a_program_still_gives_an_answer() {
    let Some(root) = Root::new(Shell::Dash, "bin", &["cat"]) else {
        return;
    };
    let facts = root.facts();
    assert_is_honest(&facts);
    assert_eq!(at(&facts, "os.id"), None);
    assert_eq!(at(&facts, "memory.mb"), None);
}

#[test]
fn nixos_is_found_although_its_programs_are_elsewhere() {
    let Some(root) = Root::new(Shell::Dash, "run/current-system-programs/sw/bin", APPLETS) else {
        return;
    };
    let hash = "6cmfb7ix8d1h1sf2pzqrqp3vg3sl4phx";
    let booted = format!("/nix/store/{hash}-nixos-system-w-01-25.05");
    let current = "/nix/store/9f7mz2b0xxwk4nqg5d3y1lw9vcz4jp8s-nixos-system-w-01-25.05";
    fs::create_dir_all(root.path(&booted[1..])).unwrap();
    root.write(
        &format!("{}/nixos-version", &current[1..]),
        "25.05.803297.10d7f8d34e5e",
    );
    root.link(
        &format!("{}/sw", &current[1..]),
        "/run/current-system-programs/sw",
    );
    root.link("run/booted-system", &booted);
    root.link("run/current-system", current);
    root.link("nix/var/nix/profiles/system", "system-42-link");
    root.link("nix/var/nix/profiles/system-42-link", current);
    root.write(
        "etc/os-release",
        "ID=nixos\nPRETTY_NAME=\"NixOS 25.05 (Warbler)\"\nVERSION_ID=\"25.05\"\n\
         VARIANT_ID=\"installer\"\n",
    );
    root.write("etc/zoneinfo/Europe/Berlin", "TZif2");
    root.link("etc/localtime", "/etc/zoneinfo/Europe/Berlin");
    let facts = root.facts();
    assert_is_honest(&facts);
    assert_eq!(at(&facts, "os.id").unwrap(), "nixos");
    assert_eq!(at(&facts, "os.variantId").unwrap(), "installer");
    assert_eq!(
        at(&facts, "nixos.version").unwrap(),
        "25.05.803297.10d7f8d34e5e"
    );
    assert_eq!(at(&facts, "nixos.generation").unwrap(), 42);
    assert_eq!(at(&facts, "nixos.bootedSystem").unwrap(), booted.as_str());
    assert_eq!(at(&facts, "nixos.currentSystem").unwrap(), current);
    assert_eq!(at(&facts, "system.timezone").unwrap(), "Europe/Berlin");
    assert!(at(&facts, "memory.mb").is_some());
}

#[test]
fn what_a_host_calls_itself_cannot_break_out_of_its_field() {
    let Some(root) = Root::new(Shell::Busybox, "bin", APPLETS) else {
        return;
    };
    root.write(
        "etc/timezone",
        "Europe/Berlin\tx\nfact\tos.id\tforged\n*\r\n",
    );
    let facts = root.facts();
    assert_eq!(at(&facts, "os.id"), None);
    let zone = at(&facts, "system.timezone").unwrap();
    assert_eq!(zone, "Europe/Berlin x fact os.id forged *");
}

#[test]
fn this_machine_tells_what_it_is() {
    let output = feed_script_to(Command::new("sh").arg("-s"));
    let facts = parse(&output.stdout).unwrap();
    assert_is_honest(&facts);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(at(&facts, "kernel.version").unwrap(), kernel.trim());
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap();
    let total: u64 = meminfo
        .split_whitespace()
        .nth(1)
        .and_then(|number| number.parse().ok())
        .unwrap();
    assert_eq!(at(&facts, "memory.mb").unwrap(), total / 1024);
}
