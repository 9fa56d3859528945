//! Who may do what: roles and bindings, tokens, and acting as somebody else.

mod support;

use std::time::Duration;

use http::Request;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use nico_apiserver::{Authorization, Server};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(20);

/// A server that asks roles and bindings, and its administrator.
async fn guarded() -> (Server, Client) {
    let server = Server::builder()
        .authorization(Authorization::Rbac)
        .user_token("secret-of-otto", "otto", &["crew"])
        .start()
        .await
        .expect("the server starts");
    let client = support::client(&server).await;
    (server, client)
}

async fn config(server: &Server) -> Config {
    let kubeconfig = Kubeconfig::from_yaml(server.kubeconfig()).expect("a kubeconfig");
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .expect("a configuration")
}

async fn user(server: &Server, name: &str, groups: &[&str]) -> Client {
    let kubeconfig = server.kubeconfig_for(name, groups).expect("a certificate");
    let kubeconfig = Kubeconfig::from_yaml(&kubeconfig).expect("a kubeconfig");
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    Client::try_from(config.expect("a configuration")).expect("a client")
}

/// A client without a certificate, with a bearer token or nothing.
async fn bearer(server: &Server, token: Option<&str>) -> Client {
    let mut config = config(server).await;
    config.auth_info.client_certificate_data = None;
    config.auth_info.client_key_data = None;
    config.auth_info.token = token.map(|token| token.to_owned().into());
    Client::try_from(config).expect("a client")
}

fn read<T: DeserializeOwned>(object: Value) -> T {
    serde_json::from_value(object).expect("an object")
}

fn role<T: DeserializeOwned>(name: &str, rules: &Value) -> T {
    read(json!({"metadata": {"name": name}, "rules": rules}))
}

fn binding<T: DeserializeOwned>(name: &str, role: (&str, &str), subject: &Value) -> T {
    read(json!({
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role.0, "name": role.1},
        "subjects": [subject],
    }))
}

fn person(name: &str) -> Value {
    json!({"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": name})
}

async fn create<T>(api: Api<T>, object: &T)
where
    T: Clone + serde::Serialize + DeserializeOwned + std::fmt::Debug,
{
    api.create(&PostParams::default(), object)
        .await
        .expect("created");
}

/// The refusal, which must be a 403.
fn refusal<T: std::fmt::Debug>(result: Result<T, kube::Error>) -> String {
    match result {
        Err(kube::Error::Api(status)) if status.code == 403 => status.message.clone(),
        other => panic!("expected a refusal, got {other:?}"),
    }
}

/// Waits until something is allowed, or no more.
async fn until<T>(allowed: bool, mut ask: impl AsyncFnMut() -> Result<T, kube::Error>) {
    let asking = async {
        loop {
            match ask().await {
                Ok(_) if allowed => return,
                Err(kube::Error::Api(status)) if status.code == 403 && !allowed => return,
                Err(kube::Error::Api(status)) if status.code != 403 => panic!("{status:?}"),
                _ => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
    };
    tokio::time::timeout(SOON, asking).await.expect("soon");
}

async fn post(client: &Client, path: &str, body: &Value) -> Value {
    let request = Request::post(path)
        .header("content-type", "application/json")
        .body(body.to_string().into_bytes())
        .expect("a request");
    client.request(request).await.expect("an answer")
}

async fn can(client: &Client, attributes: &Value) -> Value {
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let answer = post(client, path, &json!({"spec": attributes})).await;
    answer["status"].clone()
}

async fn whoami(client: &Client) -> Value {
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    post(client, path, &json!({})).await["status"]["userInfo"].clone()
}

#[tokio::test]
async fn what_no_rule_allows_is_refused_until_a_binding_comes_and_after_it_goes() {
    let (server, admin) = guarded().await;
    let anna = user(&server, "anna", &[]).await;
    let secrets: Api<Secret> = Api::namespaced(anna.clone(), "default");
    let list = async || secrets.list(&ListParams::default()).await;
    assert_eq!(
        refusal(list().await),
        "secrets is forbidden: User \"anna\" cannot list resource \"secrets\" in API group \"\" in \
         the namespace \"default\""
    );
    let roles: Api<Role> = Api::namespaced(admin.clone(), "default");
    let rules = json!([{"apiGroups": [""], "resources": ["secrets"], "verbs": ["list"]}]);
    create(roles.clone(), &role("lister", &rules)).await;
    let bindings: Api<RoleBinding> = Api::namespaced(admin, "default");
    create(
        bindings.clone(),
        &binding("anna", ("Role", "lister"), &person("anna")),
    )
    .await;
    until(true, list).await;
    let elsewhere: Api<Secret> = Api::namespaced(anna, "kube-system");
    refusal(elsewhere.list(&ListParams::default()).await);
    refusal(secrets.get("x").await);
    bindings
        .delete("anna", &DeleteParams::default())
        .await
        .expect("deleted");
    until(false, list).await;
}

#[tokio::test]
async fn everybody_who_is_known_finds_their_way_and_others_see_health_only() {
    let (server, _admin) = guarded().await;
    let anna = user(&server, "anna", &[]).await;
    anna.list_api_groups()
        .await
        .expect("discovery is for everybody who is known");
    let nobody = bearer(&server, None).await;
    let get = async |path: &str| {
        nobody
            .request_text(Request::get(path).body(Vec::new()).unwrap())
            .await
    };
    assert_eq!(get("/readyz").await.expect("health is for everybody"), "ok");
    assert_eq!(
        refusal(get("/apis").await),
        "forbidden: User \"system:anonymous\" cannot get path \"/apis\""
    );
    let stranger = bearer(&server, Some("wrong")).await;
    match stranger.apiserver_version().await {
        Err(kube::Error::Api(status)) => assert_eq!(status.code, 401),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_token_given_at_start_is_that_of_a_user_with_groups() {
    let (server, admin) = guarded().await;
    let otto = bearer(&server, Some("secret-of-otto")).await;
    let who = whoami(&otto).await;
    assert_eq!(who["username"], "otto");
    assert_eq!(who["groups"], json!(["crew", "system:authenticated"]));
    let crew = json!({"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "crew"});
    create(
        Api::<ClusterRoleBinding>::all(admin),
        &binding("crew", ("ClusterRole", "view"), &crew),
    )
    .await;
    let namespaces: Api<Namespace> = Api::all(otto.clone());
    until(true, async || namespaces.list(&ListParams::default()).await).await;
    refusal(Api::<Secret>::all(otto).list(&ListParams::default()).await);
}

#[tokio::test]
async fn the_token_of_a_service_account_lasts_as_long_as_the_account() {
    let (server, admin) = guarded().await;
    let accounts: Api<ServiceAccount> = Api::namespaced(admin.clone(), "default");
    let robot: ServiceAccount = read(json!({"metadata": {"name": "robot"}}));
    create(accounts.clone(), &robot).await;
    let wanted = TokenRequest {
        spec: Some(TokenRequestSpec {
            expiration_seconds: Some(600),
            ..TokenRequestSpec::default()
        }),
        ..TokenRequest::default()
    };
    let given = accounts
        .create_token_request("robot", &PostParams::default(), &wanted)
        .await
        .expect("a token");
    let token = given
        .status
        .and_then(|status| status.token)
        .expect("a token");
    let robot_client = bearer(&server, Some(&token)).await;
    let who = whoami(&robot_client).await;
    assert_eq!(who["username"], "system:serviceaccount:default:robot");
    assert_eq!(
        who["groups"],
        json!([
            "system:serviceaccounts",
            "system:serviceaccounts:default",
            "system:authenticated"
        ])
    );
    let review = "/apis/authentication.k8s.io/v1/tokenreviews";
    let status = post(&admin, review, &json!({"spec": {"token": token}})).await["status"].clone();
    assert_eq!(status["authenticated"], true);
    assert_eq!(
        status["user"]["username"],
        "system:serviceaccount:default:robot"
    );

    let account = json!({"kind": "ServiceAccount", "name": "robot", "namespace": "default"});
    let bindings: Api<RoleBinding> = Api::namespaced(admin.clone(), "default");
    create(
        bindings,
        &binding("robot", ("ClusterRole", "edit"), &account),
    )
    .await;
    let secrets: Api<Secret> = Api::namespaced(robot_client.clone(), "default");
    until(true, async || secrets.list(&ListParams::default()).await).await;

    // One of the same name is another one.
    accounts
        .delete("robot", &DeleteParams::default())
        .await
        .expect("deleted");
    create(accounts, &robot).await;
    match secrets.list(&ListParams::default()).await {
        Err(kube::Error::Api(status)) => assert_eq!(status.code, 401),
        other => panic!("{other:?}"),
    }
    let status = post(&admin, review, &json!({"spec": {"token": token}})).await["status"].clone();
    assert_ne!(status["authenticated"], true);
}

#[tokio::test]
async fn nobody_grants_what_they_do_not_have() {
    let (server, admin) = guarded().await;
    let subject = person("anna");
    let bindings: Api<RoleBinding> = Api::namespaced(admin.clone(), "default");
    create(
        bindings,
        &binding("anna", ("ClusterRole", "admin"), &subject),
    )
    .await;
    let anna = user(&server, "anna", &["crew"]).await;
    let roles: Api<Role> = Api::namespaced(anna.clone(), "default");
    let held = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]);
    let pods: Role = role("pods", &held);
    until(true, async || {
        let params = PatchParams::apply("test").force();
        let mut pods = pods.clone();
        pods.metadata.managed_fields = None;
        roles
            .patch(
                "pods",
                &params,
                &Patch::Apply(json!({
                    "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
                    "metadata": {"name": "pods"}, "rules": pods.rules,
                })),
            )
            .await
    })
    .await;

    let more = json!([{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list"]}]);
    let message = refusal(
        roles
            .create(&PostParams::default(), &role("more", &more))
            .await,
    );
    assert_eq!(
        message,
        "roles.rbac.authorization.k8s.io \"more\" is forbidden: user \"anna\" (groups=[\"crew\" \
         \"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n\
         {APIGroups:[\"\"], Resources:[\"nodes\"], Verbs:[\"get\" \"list\"]}"
    );
    let patch = Patch::Merge(json!({"rules": more}));
    refusal(roles.patch("pods", &PatchParams::default(), &patch).await);
    let bindings: Api<RoleBinding> = Api::namespaced(anna.clone(), "default");
    let all = binding("all", ("ClusterRole", "cluster-admin"), &subject);
    refusal(bindings.create(&PostParams::default(), &all).await);
    create(
        bindings,
        &binding("some", ("ClusterRole", "view"), &subject),
    )
    .await;

    // The verbs `escalate` and `bind` are for those who may.
    let rules = json!([{
        "apiGroups": ["rbac.authorization.k8s.io"],
        "resources": ["clusterroles"], "verbs": ["create", "escalate"],
    }, {
        "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterrolebindings"], "verbs": ["create"],
    }, {
        "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"],
        "resourceNames": ["view"], "verbs": ["bind"],
    }]);
    create(
        Api::<ClusterRole>::all(admin.clone()),
        &role("granter", &rules),
    )
    .await;
    create(
        Api::<ClusterRoleBinding>::all(admin),
        &binding("granter", ("ClusterRole", "granter"), &person("gert")),
    )
    .await;
    let gert = user(&server, "gert", &[]).await;
    let cluster_roles: Api<ClusterRole> = Api::all(gert.clone());
    until(true, async || {
        cluster_roles
            .create(&PostParams::default(), &role("nodes", &more))
            .await
    })
    .await;
    let cluster_bindings: Api<ClusterRoleBinding> = Api::all(gert);
    create(
        cluster_bindings.clone(),
        &binding("v", ("ClusterRole", "view"), &subject),
    )
    .await;
    let edit = binding("e", ("ClusterRole", "edit"), &subject);
    refusal(cluster_bindings.create(&PostParams::default(), &edit).await);
}

#[tokio::test]
async fn roles_of_others_make_up_an_aggregated_role() {
    let (server, admin) = guarded().await;
    let roles: Api<ClusterRole> = Api::all(admin.clone());
    let view = roles.get("view").await.expect("it is there from the start");
    assert!(view.rules.is_some_and(|rules| rules.len() > 5));
    let subject = person("anna");
    create(
        Api::<ClusterRoleBinding>::all(admin),
        &binding("anna", ("ClusterRole", "edit"), &subject),
    )
    .await;
    let own: ClusterRole = read(json!({
        "metadata": {"name": "own", "labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}},
        "rules": [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]}],
    }));
    create(roles, &own).await;
    let nodes: Api<k8s_openapi::api::core::v1::Node> = Api::all(user(&server, "anna", &[]).await);
    until(true, async || nodes.list(&ListParams::default()).await).await;
}

#[tokio::test]
async fn acting_as_somebody_else_needs_the_right_to() {
    let (server, admin) = guarded().await;
    let act = async |client: &Client, user: &str| -> Result<Value, kube::Error> {
        let request = Request::post("/apis/authentication.k8s.io/v1/selfsubjectreviews")
            .header("content-type", "application/json")
            .header("impersonate-user", user)
            .header("impersonate-group", "crew")
            .body(b"{}".to_vec())
            .expect("a request");
        client.request(request).await
    };
    let who = act(&admin, "anna").await.expect("the administrator may");
    let who = &who["status"]["userInfo"];
    assert_eq!(who["username"], "anna");
    assert_eq!(who["groups"], json!(["crew", "system:authenticated"]));
    let otto = user(&server, "otto", &[]).await;
    assert_eq!(
        refusal(act(&otto, "anna").await),
        "users \"anna\" is forbidden: User \"otto\" cannot impersonate resource \"users\" in API \
         group \"\" at the cluster scope"
    );
    let rules = json!([
        {"apiGroups": [""], "resources": ["users"], "resourceNames": ["anna"], "verbs": ["impersonate"]},
        {"apiGroups": [""], "resources": ["groups"], "resourceNames": ["crew"], "verbs": ["impersonate"]},
    ]);
    create(
        Api::<ClusterRole>::all(admin.clone()),
        &role("actor", &rules),
    )
    .await;
    create(
        Api::<ClusterRoleBinding>::all(admin),
        &binding("otto", ("ClusterRole", "actor"), &person("otto")),
    )
    .await;
    until(true, async || act(&otto, "anna").await).await;
    refusal(act(&otto, "kubernetes-admin").await);
}

#[tokio::test]
async fn questions_about_rights_are_answered_truthfully() {
    let (server, admin) = guarded().await;
    let anna = user(&server, "anna", &[]).await;
    let list =
        json!({"resourceAttributes": {"verb": "list", "resource": "pods", "namespace": "default"}});
    assert_eq!(can(&anna, &list).await, json!({"allowed": false}));
    assert_eq!(can(&admin, &list).await, json!({"allowed": true}));
    let path = json!({"nonResourceAttributes": {"verb": "get", "path": "/version"}});
    assert_eq!(can(&anna, &path).await["allowed"], true);
    let bindings: Api<RoleBinding> = Api::namespaced(admin.clone(), "default");
    create(
        bindings,
        &binding("anna", ("ClusterRole", "view"), &person("anna")),
    )
    .await;
    let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(anna.clone(), "default");
    until(true, async || pods.list(&ListParams::default()).await).await;
    let allowed = can(&anna, &list).await;
    assert_eq!(
        allowed["reason"],
        "RBAC: allowed by RoleBinding \"anna/default\" of ClusterRole \"view\" to User \"anna\""
    );

    let about = json!({"user": "anna", "resourceAttributes": {"verb": "list", "resource": "pods", "namespace": "default"}});
    let global = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    let status = post(&admin, global, &json!({"spec": about})).await["status"].clone();
    assert_eq!(status["allowed"], true);
    let local = "/apis/authorization.k8s.io/v1/namespaces/default/localsubjectaccessreviews";
    let status = post(&admin, local, &json!({"spec": about})).await["status"].clone();
    assert_eq!(status["allowed"], true);

    let rules = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let status =
        post(&anna, rules, &json!({"spec": {"namespace": "default"}})).await["status"].clone();
    let reads_pods = |rule: &Value| {
        let has = |field: &str, value: &str| {
            rule[field]
                .as_array()
                .is_some_and(|l| l.contains(&value.into()))
        };
        has("resources", "pods") && has("verbs", "list")
    };
    assert!(
        status["resourceRules"]
            .as_array()
            .is_some_and(|rules| rules.iter().any(reads_pods))
    );
    assert_eq!(status["incomplete"], false);
}

#[tokio::test]
async fn where_everybody_may_do_everything_the_answers_say_so() {
    let (server, _admin) = support::server().await;
    let anna = user(&server, "anna", &[]).await;
    let everything = json!({"resourceAttributes": {"verb": "*", "group": "*", "resource": "*"}});
    assert_eq!(can(&anna, &everything).await["allowed"], true);
    assert_eq!(whoami(&anna).await["username"], "anna");
    match bearer(&server, None).await.apiserver_version().await {
        Err(kube::Error::Api(status)) => assert_eq!(status.code, 401),
        other => panic!("{other:?}"),
    }
}
