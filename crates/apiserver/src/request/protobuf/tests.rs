use proptest::prelude::*;

use super::*;

/// Field `number` with these bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2, u8::try_from(bytes.len()).unwrap()];
    field.extend_from_slice(bytes);
    field
}

/// Field `number` with a small number.
fn number(number: u8, value: u8) -> Vec<u8> {
    vec![number << 3, value]
}

fn envelope(version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let meta = [field(1, version.as_bytes()), field(2, kind.as_bytes())].concat();
    [MAGIC.to_vec(), field(1, &meta), field(2, raw)].concat()
}

fn read(version: &str, kind: &str, raw: &[u8]) -> Value {
    parse(&envelope(version, kind, raw)).unwrap()
}

#[test]
fn a_secret_is_read() {
    let metadata = field(1, b"name");
    let entry = [field(1, b"key"), field(2, b"value")].concat();
    let secret = [field(1, &metadata), field(2, &entry), field(3, b"Opaque")].concat();
    assert_eq!(
        read("v1", "Secret", &secret),
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "name"},
            "data": {"key": "dmFsdWU="}, "type": "Opaque",
        })
    );
}

#[test]
fn zero_is_kept_where_it_means_something() {
    // `replicas` and `minReadySeconds`; only the first is a pointer in Go.
    let spec = [number(1, 0), number(5, 0)].concat();
    assert_eq!(
        read("apps/v1", "Deployment", &field(2, &spec))["spec"],
        json!({"replicas": 0})
    );
}

#[test]
fn fields_of_embedded_messages_belong_to_the_message_around_them() {
    // PodSpec.volumes: a name and, in the embedded source, an emptyDir.
    let volume = [field(1, b"v"), field(2, &field(2, b""))].concat();
    assert_eq!(
        read("v1", "Pod", &field(2, &field(1, &volume)))["spec"],
        json!({"volumes": [{"name": "v", "emptyDir": {}}]})
    );
}

#[test]
fn amounts_ports_and_lists_of_numbers_are_read() {
    let request = [field(1, b"cpu"), field(2, &field(1, b"100m"))].concat();
    let container = field(8, &field(2, &request));
    let groups = field(14, &[&number(4, 7), &field(4, &[8, 9])[..]].concat());
    let pod = field(2, &[field(2, &container), groups].concat());
    assert_eq!(
        read("v1", "Pod", &pod)["spec"],
        json!({
            "containers": [{"resources": {"requests": {"cpu": "100m"}}}],
            "securityContext": {"supplementalGroups": [7, 8, 9]},
        })
    );
    let named = [number(1, 1), number(2, 0), field(3, b"80%")].concat();
    let budget = field(2, &field(3, &named));
    assert_eq!(
        read("policy/v1", "PodDisruptionBudget", &budget)["spec"],
        json!({"maxUnavailable": "80%"})
    );
}

#[test]
fn a_schema_may_be_a_boolean() {
    let deny = field(30, &number(1, 0));
    // The key of field 30 takes two bytes.
    let deny = [&[0xf2, 0x01], &deny[1..]].concat();
    let schema = field(1, &deny);
    let version = field(4, &schema);
    let definition = field(2, &field(7, &version));
    assert_eq!(
        read(
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            &definition
        )["spec"],
        json!({"versions": [{"schema": {"openAPIV3Schema": {"additionalProperties": false}}}]})
    );
}

#[test]
fn what_is_false_or_empty_in_devices_is_kept_where_json_has_it() {
    let entry =
        |key: &str, value: &[u8]| field(2, &[field(1, key.as_bytes()), field(2, value)].concat());
    let numbers = [number(6, 1), number(6, 2)].concat();
    let truths = [number(7, 1), number(7, 0)].concat();
    let device = [field(1, b"d"), entry("n", &numbers), entry("t", &truths)].concat();
    let pool = [field(1, b"p"), number(2, 0), number(3, 1)].concat();
    let slice = [
        field(1, b""),
        field(2, &pool),
        number(5, 0),
        field(6, &device),
    ]
    .concat();

    let parameters = field(1, br#"{"speed":0}"#);
    let opaque = [field(1, b"driver"), field(2, &parameters)].concat();
    let class = field(2, &field(1, &field(1, &opaque)));

    let toleration = [field(1, b""), field(2, b"Exists"), number(5, 0)].concat();
    let exactly = [field(1, b""), field(3, b""), number(4, 0), number(5, 0)].concat();
    let exactly = [exactly, field(6, &toleration)].concat();
    let request = [field(1, b"r"), field(2, &exactly)].concat();
    let claim = field(1, &field(1, &request));

    let cases = [
        (
            "ResourceSlice",
            slice,
            json!({
                "driver": "", "allNodes": false,
                "pool": {"name": "p", "generation": 0, "resourceSliceCount": 1},
                "devices": [{"name": "d", "attributes": {
                    "n": {"ints": [1, 2]}, "t": {"bools": [true, false]},
                }}],
            }),
        ),
        (
            "DeviceClass",
            class,
            json!({"config": [{"opaque": {"driver": "driver", "parameters": {"speed": 0}}}]}),
        ),
        (
            "ResourceClaim",
            claim,
            json!({"devices": {"requests": [{"name": "r", "exactly": {
                "deviceClassName": "", "adminAccess": false,
                "tolerations": [{"operator": "Exists", "tolerationSeconds": 0}],
            }}]}}),
        ),
    ];
    for (kind, spec, expected) in cases {
        let object = read("resource.k8s.io/v1", kind, &field(2, &spec));
        assert_eq!(object["spec"], expected, "{kind}");
    }
}

#[test]
fn policies_that_change_what_is_written_are_read() {
    let patch = field(4, &field(1, b"[]"));
    let mutation = [field(2, b"JSONPatch"), patch].concat();
    let variable = [field(1, b"v"), field(2, b"1")].concat();
    // Go points to `failurePolicy`, not to `reinvocationPolicy`.
    let spec = [
        field(3, &variable),
        field(4, &mutation),
        field(5, b""),
        field(7, b""),
    ]
    .concat();
    let policy = read(
        "admissionregistration.k8s.io/v1",
        "MutatingAdmissionPolicy",
        &field(2, &spec),
    );
    assert_eq!(
        policy["spec"],
        json!({
            "variables": [{"name": "v", "expression": "1"}],
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": "[]"}}],
            "failurePolicy": "",
        })
    );
}

#[test]
fn times_have_the_digits_that_their_type_has() {
    let time = [number(1, 60), number(2, 0)].concat();
    let spec = [field(3, &[8, 10]), field(4, &time)].concat();
    let metadata = field(8, &time);
    let lease = [field(1, &metadata), field(2, &spec[4..])].concat();
    let lease = read("coordination.k8s.io/v1", "Lease", &lease);
    assert_eq!(
        lease["metadata"]["creationTimestamp"],
        "1970-01-01T00:01:00Z"
    );
    assert_eq!(lease["spec"]["renewTime"], "1970-01-01T00:01:00.000000Z");
}

#[test]
fn what_the_table_does_not_have_is_refused() {
    let refused = |version, kind, raw: &[u8]| parse(&envelope(version, kind, raw)).unwrap_err();
    assert!(refused("v1", "Nothing", &[]).contains("send JSON"));
    assert!(refused("v1", "Secret", &field(9, b"x")).contains("field 9"));
    assert!(parse(b"{}").is_err());
}

#[test]
fn nesting_has_an_end() {
    let mut schema = Vec::new();
    for _ in 0..200 {
        // `not`, with a length of up to three bytes.
        let length = schema.len();
        let mut outer = vec![0xe2, 0x01];
        outer.extend([
            length as u8 | 0x80,
            (length >> 7) as u8 | 0x80,
            (length >> 14) as u8,
        ]);
        outer.extend(schema);
        schema = outer;
    }
    let mut object = Map::new();
    let error = message(
        "apiextensions.k8s.io/v1/JSONSchemaProps",
        &schema,
        0,
        &mut object,
    );
    assert!(error.unwrap_err().contains("too deeply"));
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        kind in prop::sample::select(vec!["Secret", "Pod", "Node", "Event", "Service"]),
    ) {
        let _ = parse(&[MAGIC, &bytes].concat());
        let _ = parse(&envelope("v1", kind, &bytes[..bytes.len().min(100)]));
    }
}
