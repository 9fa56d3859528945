//! The objects that are written.

use bytes::Bytes;

/// The namespace of ConfigMaps.
pub const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// The size of a ConfigMap, in bytes.
const CONFIG_MAP_SIZE: usize = 1000;
/// More filler than a ConfigMap needs.
const FILLER: &str = match std::str::from_utf8(&[b'x'; CONFIG_MAP_SIZE]) {
    Ok(text) => text,
    Err(_) => panic!("the filler is ASCII"),
};

/// A ConfigMap of 1 KB; the marker is easy to find in it. Put together as text: whoever writes
/// shares the cores with the server.
pub fn config_map(name: &str, marker: &str) -> Bytes {
    let text = |filler: &str| {
        format!(
            r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}","labels":{{"app":"bench"}}}},"data":{{"marker":"{marker}","filler":"{filler}"}}}}"#
        )
    };
    let filler = CONFIG_MAP_SIZE.saturating_sub(text("").len());
    text(&FILLER[..filler]).into()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn objects_have_the_size_that_the_table_says() {
        let map = config_map("a", "1");
        assert_eq!(map.len(), CONFIG_MAP_SIZE);
        let map: Value = serde_json::from_slice(&map).unwrap();
        assert_eq!(
            (&map["metadata"]["name"], &map["data"]["marker"]),
            (&json!("a"), &json!("1"))
        );
    }
}
