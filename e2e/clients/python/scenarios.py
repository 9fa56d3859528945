"""What programs written with the official Python client do, against the server of a kubeconfig.

Usage: scenarios.py KUBECONFIG HISTORY, where HISTORY is how many changes the server remembers.
Prints a line for each scenario, and ends with 1 if one failed.
"""

import sys
import threading
import time
import traceback

from kubernetes import client, config, dynamic, watch
from kubernetes.client.exceptions import ApiException
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.configmaplock import ConfigMapLock

NAMESPACE = "python"
# Far more than anything takes.
DEADLINE = 60
GROUP, VERSION, PLURAL = "example.com", "v1", "widgets"


def config_map(name, labels=None, **data):
    metadata = client.V1ObjectMeta(name=name, labels=labels)
    return client.V1ConfigMap(metadata=metadata, data=data)


def refused(code, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except ApiException as error:
        assert error.status == code, f"{error.status} instead of {code}: {error.body}"
        return error
    raise AssertionError(f"nothing was refused with {code}")


def eventually(what, look):
    end = time.monotonic() + DEADLINE
    while not look():
        assert time.monotonic() < end, f"waited {DEADLINE} s for: {what}"
        time.sleep(0.05)


def an_object_is_made_read_changed_and_deleted(api):
    made = api.create_namespaced_config_map(NAMESPACE, config_map("a", k="1"))
    assert made.metadata.uid and made.metadata.creation_timestamp.tzinfo
    refused(409, api.create_namespaced_config_map, NAMESPACE, config_map("a"))
    made.data["k"] = "2"
    changed = api.replace_namespaced_config_map("a", NAMESPACE, made)
    assert changed.metadata.resource_version != made.metadata.resource_version
    refused(409, api.replace_namespaced_config_map, "a", NAMESPACE, made)
    assert api.read_namespaced_config_map("a", NAMESPACE).data == {"k": "2"}
    api.create_namespaced_config_map(NAMESPACE, config_map("dry"), dry_run="All")
    refused(404, api.read_namespaced_config_map, "dry", NAMESPACE)
    stale = client.V1DeleteOptions(preconditions=client.V1Preconditions(uid="another"))
    refused(409, api.delete_namespaced_config_map, "a", NAMESPACE, body=stale)
    own = client.V1Preconditions(uid=made.metadata.uid)
    options = client.V1DeleteOptions(preconditions=own, propagation_policy="Background")
    status = api.delete_namespaced_config_map("a", NAMESPACE, body=options)
    assert api.api_client.sanitize_for_serialization(status)["status"] == "Success"
    refused(404, api.read_namespaced_config_map, "a", NAMESPACE)


def a_list_comes_in_pages(api):
    for number in range(7):
        body = config_map(f"page-{number}", labels={"page": "yes"})
        api.create_namespaced_config_map(NAMESPACE, body)
    names, token, pages = [], None, 0
    while pages == 0 or token:
        page = api.list_namespaced_config_map(
            NAMESPACE, limit=3, label_selector="page=yes", _continue=token
        )
        names += [item.metadata.name for item in page.items]
        token, pages = page.metadata._continue, pages + 1
    assert pages == 3 and names == [f"page-{number}" for number in range(7)], names
    one = api.list_namespaced_config_map(NAMESPACE, field_selector="metadata.name=page-3")
    assert [item.metadata.name for item in one.items] == ["page-3"]
    api.delete_collection_namespaced_config_map(NAMESPACE, label_selector="page")
    left = api.list_namespaced_config_map(NAMESPACE, label_selector="page")
    assert not left.items


def a_watch_goes_on_where_another_ended(api):
    start = api.list_namespaced_config_map(NAMESPACE).metadata.resource_version
    for name in ["w-1", "w-2", "w-3"]:
        api.create_namespaced_config_map(NAMESPACE, config_map(name))
    options = {"resource_version": start, "timeout_seconds": DEADLINE}
    seen, follower = [], watch.Watch()
    for event in follower.stream(api.list_namespaced_config_map, NAMESPACE, **options):
        seen.append((event["type"], event["object"].metadata.name))
        if len(seen) == 2:
            follower.stop()
    assert seen == [("ADDED", "w-1"), ("ADDED", "w-2")], seen
    api.delete_namespaced_config_map("w-3", NAMESPACE)
    options["resource_version"] = follower.resource_version
    seen, follower = [], watch.Watch()
    for event in follower.stream(api.list_namespaced_config_map, NAMESPACE, **options):
        seen.append((event["type"], event["object"].metadata.name))
        if len(seen) == 2:
            follower.stop()
    assert seen == [("ADDED", "w-3"), ("DELETED", "w-3")], seen


def a_watch_ends_when_its_time_is_over(api):
    events = watch.Watch().stream(
        api.list_namespaced_config_map, NAMESPACE, timeout_seconds=1, label_selector="no=such"
    )
    assert list(events) == []


def versions_and_pages_that_never_were_are_refused(api):
    follower = watch.Watch().stream(
        api.list_namespaced_config_map, NAMESPACE, resource_version="x", timeout_seconds=5
    )
    refused(400, list, follower)
    refused(400, api.list_namespaced_config_map, NAMESPACE, limit=1, _continue="nonsense")


def a_watch_from_a_forgotten_version_is_gone(api):
    first = api.create_namespaced_config_map(NAMESPACE, config_map("busy", n="0"))
    version = first.metadata.resource_version
    for number in range(2 * int(sys.argv[2])):
        api.patch_namespaced_config_map("busy", NAMESPACE, {"data": {"n": str(number)}})
    refused(
        410,
        list,
        watch.Watch().stream(
            api.list_namespaced_config_map,
            NAMESPACE,
            resource_version=version,
            timeout_seconds=5,
        ),
    )


def patches_of_all_types_are_understood(api):
    apps = client.AppsV1Api(api.api_client)
    labels = {"app": "web"}
    containers = [client.V1Container(name="a", image="a:1")]
    spec = client.V1DeploymentSpec(
        selector=client.V1LabelSelector(match_labels=labels),
        template=client.V1PodTemplateSpec(
            metadata=client.V1ObjectMeta(labels=labels),
            spec=client.V1PodSpec(containers=containers),
        ),
    )
    metadata = client.V1ObjectMeta(name="web")
    apps.create_namespaced_deployment(
        NAMESPACE, client.V1Deployment(metadata=metadata, spec=spec)
    )

    def patch(body, media):
        return apps.patch_namespaced_deployment(
            "web", NAMESPACE, body, _content_type=media
        )

    more = {"spec": {"template": {"spec": {"containers": [{"name": "b", "image": "b:1"}]}}}}
    strategic = patch(more, "application/strategic-merge-patch+json")
    assert sorted(c.name for c in strategic.spec.template.spec.containers) == ["a", "b"]
    merged = patch(more, "application/merge-patch+json")
    assert [c.name for c in merged.spec.template.spec.containers] == ["b"]
    operations = [{"op": "replace", "path": "/spec/replicas", "value": 5}]
    assert patch(operations, "application/json-patch+json").spec.replicas == 5
    wrong = [{"op": "test", "path": "/spec/replicas", "value": 6}]
    refused(422, patch, wrong, "application/json-patch+json")
    scale = apps.patch_namespaced_deployment_scale("web", NAMESPACE, {"spec": {"replicas": 2}})
    assert scale.spec.replicas == 2
    assert apps.read_namespaced_deployment("web", NAMESPACE).spec.replicas == 2


def appliers_that_disagree_get_a_conflict(api):
    def apply(value, manager, **options):
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "applied"},
            "data": {"k": value},
        }
        return api.patch_namespaced_config_map(
            "applied",
            NAMESPACE,
            body,
            field_manager=manager,
            _content_type="application/apply-patch+yaml",
            **options,
        )

    assert apply("1", "one").data == {"k": "1"}
    assert 'conflict with \\"one\\"' in refused(409, apply, "2", "two").body
    forced = apply("2", "two", force=True)
    managers = {entry.manager: entry.operation for entry in forced.metadata.managed_fields}
    assert managers["two"] == "Apply", managers


def define_widgets(api):
    schema = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {"size": {"type": "integer", "minimum": 1, "default": 3}},
            },
            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        },
    }
    body = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {"plural": PLURAL, "singular": "widget", "kind": "Widget"},
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                    "subresources": {"status": {}},
                }
            ],
        },
    }
    definitions = client.ApiextensionsV1Api(api.api_client)
    definitions.create_custom_resource_definition(body)

    def established():
        status = definitions.read_custom_resource_definition(f"{PLURAL}.{GROUP}").status
        conditions = status.conditions if status else None
        return any(c.type == "Established" and c.status == "True" for c in conditions or [])

    eventually("the definition of widgets", established)


def custom_objects_have_defaults_validation_and_a_status(api):
    define_widgets(api)
    custom = client.CustomObjectsApi(api.api_client)
    where = (GROUP, VERSION, NAMESPACE, PLURAL)
    widget = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "Widget",
        "metadata": {"name": "one"},
        "spec": {},
    }
    made = custom.create_namespaced_custom_object(*where, widget)
    assert made["spec"]["size"] == 3
    wrong = {**widget, "metadata": {"name": "two"}, "spec": {"size": 0}}
    error = refused(422, custom.create_namespaced_custom_object, *where, wrong)
    assert "should be greater than or equal to 1" in error.body, error.body
    patched = custom.patch_namespaced_custom_object(*where, "one", {"spec": {"size": 4}})
    assert patched["spec"]["size"] == 4 and patched["metadata"]["generation"] == 2
    status = {"status": {"phase": "Ready"}, "spec": {"size": 9}}
    patched = custom.patch_namespaced_custom_object_status(*where, "one", status)
    assert patched["status"] == {"phase": "Ready"} and patched["spec"]["size"] == 4
    listed = custom.list_namespaced_custom_object(*where)
    assert [item["metadata"]["name"] for item in listed["items"]] == ["one"]
    custom.delete_namespaced_custom_object(*where, "one")
    assert not custom.list_namespaced_custom_object(*where)["items"]


def the_dynamic_client_discovers_what_is_served(api):
    found = dynamic.DynamicClient(api.api_client)
    widgets = found.resources.get(api_version=f"{GROUP}/{VERSION}", kind="Widget")
    assert widgets.namespaced and widgets.name == PLURAL
    body = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "Widget",
        "metadata": {"name": "dynamic"},
    }
    widgets.create(body=body, namespace=NAMESPACE)
    applied = {**body, "spec": {"size": 7}}
    widgets.server_side_apply(body=applied, namespace=NAMESPACE, field_manager="python")
    assert widgets.get(name="dynamic", namespace=NAMESPACE).spec.size == 7
    start = widgets.get(namespace=NAMESPACE).metadata.resourceVersion
    widgets.delete(name="dynamic", namespace=NAMESPACE)
    for event in widgets.watch(namespace=NAMESPACE, resource_version=start, timeout=DEADLINE):
        assert event["type"] == "DELETED" and event["object"].metadata.name == "dynamic"
        break
    pods = found.resources.get(api_version="v1", kind="Pod")
    assert "all" in pods.categories and "po" in pods.short_names


def events_and_leases_are_written(api):
    about = client.V1ObjectReference(kind="ConfigMap", name="applied", namespace=NAMESPACE)
    event = client.CoreV1Event(
        metadata=client.V1ObjectMeta(generate_name="event-"),
        involved_object=about,
        reason="Tried",
        message="from Python",
        type="Normal",
    )
    made = api.create_namespaced_event(NAMESPACE, event)
    assert made.metadata.name.startswith("event-")
    selected = api.list_namespaced_event(NAMESPACE, field_selector="reason=Tried")
    assert [item.message for item in selected.items] == ["from Python"]


def another_candidate_leads_when_the_first_one_stops(_api):
    started = {"one": threading.Event(), "two": threading.Event()}

    class Stopped(Exception):
        pass

    class StoppableLock(ConfigMapLock):
        """A lock whose candidate can be stopped as if it had crashed."""

        stopped = False

        def get(self, name, namespace):
            if self.stopped:
                raise Stopped
            return super().get(name, namespace)

    def candidate(name):
        lock = StoppableLock("lock", NAMESPACE, name)
        elected = electionconfig.Config(
            lock,
            lease_duration=3,
            renew_deadline=2,
            retry_period=1,
            onstarted_leading=started[name].set,
            onstopped_leading=lambda: None,
        )

        def run():
            try:
                leaderelection.LeaderElection(elected).run()
            except Stopped:
                pass

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return lock, thread

    first, first_thread = candidate("one")
    assert started["one"].wait(DEADLINE)
    second, second_thread = candidate("two")
    assert not started["two"].is_set()
    first.stopped = True
    assert started["two"].wait(DEADLINE)
    second.stopped = True
    # Nothing may run any more when the interpreter ends: a thread that writes then aborts it.
    for thread in (first_thread, second_thread):
        thread.join(DEADLINE)
        assert not thread.is_alive()


SCENARIOS = [
    an_object_is_made_read_changed_and_deleted,
    a_list_comes_in_pages,
    a_watch_goes_on_where_another_ended,
    a_watch_ends_when_its_time_is_over,
    versions_and_pages_that_never_were_are_refused,
    a_watch_from_a_forgotten_version_is_gone,
    patches_of_all_types_are_understood,
    appliers_that_disagree_get_a_conflict,
    custom_objects_have_defaults_validation_and_a_status,
    the_dynamic_client_discovers_what_is_served,
    events_and_leases_are_written,
    another_candidate_leads_when_the_first_one_stops,
]


def main():
    config.load_kube_config(sys.argv[1])
    api = client.CoreV1Api()
    api.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=NAMESPACE)))
    failed = 0
    for scenario in SCENARIOS:
        try:
            scenario(api)
            print("passed", scenario.__name__, flush=True)
        except Exception:
            failed += 1
            print("FAILED", scenario.__name__, flush=True)
            traceback.print_exc()
    print(f"{len(SCENARIOS) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
