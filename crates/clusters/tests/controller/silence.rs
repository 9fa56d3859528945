//! What is remembered of a new cluster that does not answer for a while.

use k8s_openapi::jiff::Timestamp;
use nico_apiserver::faults::{Refusal, Rule};
use nico_clusters::observed::Workload;
use nico_clusters::workload::{Detail, Workloads};
use nico_testbed::ControlPlane;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silence_has_a_beginning_and_the_answer_after_a_long_one_says_since_when() {
    let cluster = ControlPlane::start_embedded().await.unwrap();
    let server = cluster.embedded().unwrap();
    let workloads = Workloads::default();
    let ask = async |second| {
        let kubeconfig = cluster.kubeconfig();
        workloads
            .ask("uid", "1", kubeconfig, Detail::Nodes, at(second))
            .await
    };
    let back_since = |workload| match workload {
        Workload::Answers(view) => view.back_since,
        other => panic!("{other:?}"),
    };
    assert_eq!(back_since(ask(0).await), None);

    let refused = Rule::refuse(Refusal::ServiceUnavailable).resource("Node");
    let refused = server.faults().add(refused);
    for second in [10, 40, 70] {
        let Workload::Unreachable {
            since,
            last_nodes,
            is_refusal,
            ..
        } = ask(second).await
        else {
            panic!("it answers");
        };
        assert_eq!((since, last_nodes), (at(10), Some(vec![])));
        assert!(!is_refusal);
    }
    refused.remove();
    assert_eq!(back_since(ask(80).await), Some(at(80)));
    assert_eq!(back_since(ask(90).await), Some(at(80)));
    let forgotten = Workloads::default();
    let answer = forgotten.ask("uid", "1", cluster.kubeconfig(), Detail::Nodes, at(90));
    assert_eq!(back_since(answer.await), None);
}
