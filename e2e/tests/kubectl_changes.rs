//! `kubectl` makes and changes objects of many kinds: what its commands send, in JSON and in
//! protocol buffers, is understood.

use anyhow::{Result, ensure};
use nico_e2e::with_each_kubectl;

/// What `kubectl create` can make without a manifest, and one field of what comes of it. Before
/// the given version it sends kinds that Kubernetes no longer has.
const MADE: &[(u32, &str, &str, &str, &str)] = &[
    (
        20,
        "configmap settings --from-literal=color=blue",
        "configmap/settings",
        "{.data.color}",
        "blue",
    ),
    (
        20,
        "secret generic key --from-literal=a=b",
        "secret/key",
        "{.data.a}",
        "Yg==",
    ),
    (
        20,
        "serviceaccount robot",
        "serviceaccount/robot",
        "{.metadata.name}",
        "robot",
    ),
    (
        20,
        "role reader --verb=get,list --resource=pods",
        "role/reader",
        "{.rules[0].verbs}",
        r#"["get","list"]"#,
    ),
    (
        20,
        "rolebinding readers --role=reader --user=jane",
        "rolebinding/readers",
        "{.subjects[0].name}",
        "jane",
    ),
    (
        20,
        "deployment web --image=nginx:1 --replicas=3",
        "deployment/web",
        "{.spec.replicas}",
        "3",
    ),
    (
        20,
        "deployment none --image=nginx:1 --replicas=0",
        "deployment/none",
        "{.spec.replicas}",
        "0",
    ),
    (
        20,
        "job once --image=busybox -- date",
        "job/once",
        "{.spec.template.spec.restartPolicy}",
        "Never",
    ),
    (
        22,
        "cronjob often --image=busybox --schedule=@daily",
        "cronjob/often",
        "{.spec.schedule}",
        "@daily",
    ),
    (
        20,
        "quota few --hard=pods=5",
        "quota/few",
        "{.spec.hard.pods}",
        "5",
    ),
    (
        22,
        "poddisruptionbudget web --selector=app=web --min-available=50%",
        "pdb/web",
        "{.spec.minAvailable}",
        "50%",
    ),
    (
        22,
        "poddisruptionbudget no --selector=app=no --max-unavailable=0",
        "pdb/no",
        "{.spec.maxUnavailable}",
        "0",
    ),
    (
        20,
        "service clusterip inside --tcp=80:8080",
        "service/inside",
        "{.spec.ports[0].targetPort}",
        "8080",
    ),
    (
        20,
        "service nodeport outside --tcp=80",
        "service/outside",
        "{.spec.type}",
        "NodePort",
    ),
    (
        20,
        "service loadbalancer shared --tcp=80",
        "service/shared",
        "{.spec.type}",
        "LoadBalancer",
    ),
    (
        20,
        "service externalname far --external-name=example.com",
        "service/far",
        "{.spec.externalName}",
        "example.com",
    ),
    (
        20,
        "ingress door --rule=example.com/a=inside:80",
        "ingress/door",
        "{.spec.rules[0].host}",
        "example.com",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn create_makes_objects_of_many_kinds_and_a_dry_run_makes_none() -> Result<()> {
    with_each_kubectl(&[], async |_, client| {
        for (minor, command, object, path, expected) in MADE {
            if !client.has(*minor, command) {
                continue;
            }
            let create: Vec<&str> = ["create"].into_iter().chain(command.split(' ')).collect();
            let dash = create.iter().position(|word| *word == "--");
            let mut tried = create.clone();
            tried.insert(dash.unwrap_or(create.len()), "--dry-run=server");
            let said = client.run(&tried).await?;
            ensure!(
                said.trim_end().ends_with("created (server dry run)"),
                "{said}"
            );
            client.refuses(&["get", object], "").await?;
            let said = client.run(&create).await?;
            ensure!(said.trim_end().ends_with(" created"), "{said}");
            let found = client.field(object, path).await?;
            ensure!(&found == expected, "{object}: {found}");
            let refused = client.refuses(&create, "").await?;
            ensure!(refused.contains("already exists"), "{refused}");
        }
        if !client.has(22, "create job --from") {
            return Ok(());
        }
        let job = ["create", "job", "now", "--from=cronjob/often"];
        client.says(&job, &["job.batch/now created"]).await?;
        let image = "{.spec.template.spec.containers[0].image}";
        ensure!(client.field("job/now", image).await? == "busybox");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_and_annotations_are_set_kept_and_removed() -> Result<()> {
    with_each_kubectl(&[], async |_, client| {
        client.run(&["create", "configmap", "c"]).await?;
        client
            .says(&["label", "cm", "c", "a=1"], &["labeled"])
            .await?;
        let refused = client.refuses(&["label", "cm", "c", "a=2"], "").await?;
        ensure!(refused.contains("--overwrite is false"), "{refused}");
        client
            .run(&["label", "cm", "c", "a=2", "--overwrite"])
            .await?;
        client.says(&["get", "cm", "-l", "a=2"], &["c"]).await?;
        client.says(&["get", "cm", "-L", "a"], &["A", "2"]).await?;
        client.run(&["label", "cm", "c", "a-"]).await?;
        ensure!(
            client
                .run(&["get", "cm", "-l", "a", "-o", "name"])
                .await?
                .is_empty()
        );
        client
            .says(&["annotate", "cm", "c", "note=x"], &["annotated"])
            .await?;
        let stale = [
            "annotate",
            "cm",
            "c",
            "note=y",
            "--overwrite",
            "--resource-version=1",
        ];
        let refused = client.refuses(&stale, "").await?;
        ensure!(
            refused.contains("the object has been modified"),
            "{refused}"
        );
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn workloads_are_changed_by_commands() -> Result<()> {
    with_each_kubectl(&[], async |_, client| {
        let create = ["create", "deployment", "web", "--image=nginx:1"];
        client.run(&create).await?;
        client
            .says(&["scale", "deploy/web", "--replicas=4"], &["scaled"])
            .await?;
        let wrong = [
            "scale",
            "deploy/web",
            "--replicas=1",
            "--current-replicas=9",
        ];
        let refused = client.refuses(&wrong, "").await?;
        ensure!(
            refused.contains("Expected replicas to be 9, was 4"),
            "{refused}"
        );
        for command in [
            "set image deploy/web nginx=nginx:2",
            "set env deploy/web A=B",
            "set resources deploy/web --limits=cpu=1",
            "set serviceaccount deploy/web robot",
        ] {
            let command: Vec<&str> = command.split(' ').collect();
            client.says(&command, &["updated"]).await?;
        }
        let container = "{.spec.template.spec.containers[0]['image','env','resources']}";
        let found = client.field("deploy/web", container).await?;
        for part in ["nginx:2", r#"{"name":"A","value":"B"}"#, r#""cpu":"1""#] {
            ensure!(found.contains(part), "{found}");
        }
        let expose = ["expose", "deploy", "web", "--port=80", "--target-port=8080"];
        client.says(&expose, &["service/web exposed"]).await?;
        ensure!(client.field("service/web", "{.spec.selector.app}").await? == "web");
        let run = [
            "run",
            "one",
            "--image=nginx",
            "--port=80",
            "--labels=app=one",
        ];
        client.says(&run, &["pod/one created"]).await?;
        ensure!(
            client
                .field("pod/one", "{.spec.containers[0].ports[0].containerPort}")
                .await?
                == "80"
        );
        let status = ["rollout", "status", "deploy/web", "--watch=false"];
        client.says(&status, &["Waiting for deployment"]).await?;
        client
            .says(&["rollout", "pause", "deploy/web"], &["paused"])
            .await?;
        client
            .says(&["rollout", "resume", "deploy/web"], &["resumed"])
            .await?;
        client
            .says(&["rollout", "restart", "deploy/web"], &["restarted"])
            .await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn debug_adds_an_ephemeral_container_and_programs_in_pods_are_refused_clearly() -> Result<()>
{
    with_each_kubectl(&[], async |_, client| {
        client.run(&["run", "one", "--image=nginx"]).await?;
        for command in ["logs one", "exec one -- true"] {
            let command: Vec<&str> = command.split(' ').collect();
            let refused = client.refuses(&command, "").await?;
            ensure!(refused.contains("this server runs no pods"), "{refused}");
        }
        let refused = client.refuses(&["top", "pods"], "").await?;
        ensure!(
            refused.to_lowercase().contains("metrics api not available"),
            "{refused}"
        );
        if client.has(23, "kubectl debug") {
            let debug = ["debug", "one", "--image=busybox", "-c", "look"];
            client.run(&debug).await?;
            let path = "{.spec.ephemeralContainers[0].name}";
            ensure!(client.field("pod/one", path).await? == "look");
        }
        Ok(())
    })
    .await
}
