//! Files that are no YAML, or far too much of it.

use super::Case;

/// What a careless person writes.
pub fn malformed() -> Vec<Case> {
    let utf_16 = |text: &str, big: bool| -> Vec<u8> {
        let units = text.encode_utf16();
        units
            .flat_map(|unit| {
                if big {
                    unit.to_be_bytes()
                } else {
                    unit.to_le_bytes()
                }
            })
            .collect()
    };
    let utf_32 = "\u{feff}a: 1\n".chars();
    let utf_32: Vec<u8> = utf_32
        .flat_map(|letter| (letter as u32).to_le_bytes())
        .collect();
    vec![
        Case::file(
            "tab as indentation",
            "spec:\n\twait: true\n",
            ("FLX023 a.yaml:2", "this is not YAML"),
        ),
        Case::file(
            "tab in a nested list",
            "spec:\n  list:\n  \t- a\n",
            ("FLX023 a.yaml:3", "this is not YAML"),
        ),
        Case::file(
            "key twice",
            "spec:\n  wait: true\n  path: x\n  wait: false\n",
            ("FLX023 a.yaml:4", "the key \"wait\" stands twice"),
        ),
        Case::file(
            "key twice, in other quotes",
            "wait: true\n'wait': false\n",
            ("FLX023 a.yaml:2", "the key \"wait\" stands twice"),
        ),
        Case::file(
            "key twice, in braces",
            "{a: 1, b: 2, a: 3}\n",
            ("FLX023 a.yaml:1", "the key \"a\" stands twice"),
        ),
        Case::file(
            "alias without anchor",
            "a: &x 1\nb: *y\n",
            ("FLX023 a.yaml:2", "the alias *y has no anchor"),
        ),
        Case::file(
            "alias to another document's anchor",
            "a: &x 1\n---\nb: *x\n",
            ("FLX023 a.yaml:3", "the alias *x has no anchor"),
        ),
        Case::file(
            "alias before its anchor",
            "a: *x\nb: &x 1\n",
            ("FLX023 a.yaml:1", "the alias *x has no anchor"),
        ),
        Case::file(
            "alias in its own anchor",
            "a: &x\n  b: *x\n",
            ("FLX023 a.yaml:2", "the alias stands inside its own anchor"),
        ),
        Case::file(
            "quote without end",
            "a: \"b\nc: d\n",
            ("FLX023 a.yaml", "this is not YAML"),
        )
        .anywhere(),
        Case::file(
            "bracket without end",
            "a: [b, c\nd: e\n",
            ("FLX023 a.yaml", "this is not YAML"),
        )
        .anywhere(),
        Case::file(
            "two values in a line",
            "a: b: c\n",
            ("FLX023 a.yaml:1", "this is not YAML"),
        ),
        Case::file(
            "a list as a key",
            "? [a, b]\n: c\n",
            ("FLX023 a.yaml:1", "a key must be a word"),
        ),
        Case::file(
            "separator glued to a value",
            "a: b---\nc: d\n",
            ("FLX023 a.yaml:1", "a document separator is glued"),
        ),
        Case::file(
            "control character",
            "a: \"b\u{7}\"\n",
            ("FLX023 a.yaml:1", "this is not YAML"),
        ),
        Case::file(
            "unknown directive version",
            "%YAML 3.0\n%YAML 3.0\n---\na: 1\n",
            ("FLX023 a.yaml", "this is not YAML"),
        )
        .anywhere(),
        Case::file(
            "Latin-1",
            b"a: 1\nname: caf\xe9\n".to_vec(),
            ("LOD001 a.yaml:2", "the byte 0xe9 here is not UTF-8"),
        ),
        Case::file(
            "UTF-8 that ends in a letter",
            b"a: \xe2\x82".to_vec(),
            ("LOD001 a.yaml:1", "the byte 0xe2 here is not UTF-8"),
        ),
        Case::file(
            "UTF-16, little end first",
            utf_16("\u{feff}a: 1\n", false),
            ("LOD001 a.yaml:1", "the file is encoded in UTF-16"),
        ),
        Case::file(
            "UTF-16, big end first",
            utf_16("\u{feff}a: 1\n", true),
            ("LOD001 a.yaml:1", "the file is encoded in UTF-16"),
        ),
        Case::file(
            "UTF-16 without a mark",
            utf_16("a: 1\n", false),
            ("LOD001 a.yaml:1", "the file is encoded in UTF-16"),
        ),
        Case::file(
            "UTF-32",
            utf_32,
            ("LOD001 a.yaml:1", "the file is encoded in UTF-32"),
        ),
        Case::file(
            "zeros",
            vec![0; 1000],
            ("FLX023 a.yaml:1", "this is not YAML"),
        ),
    ]
}

/// What nobody writes by mistake.
pub fn bombs() -> Vec<Case> {
    let nine = |level: usize| format!("*a{level}, ").repeat(9);
    let lists = (1..40).map(|level| format!("a{level}: &a{level} [{}]\n", nine(level - 1)));
    let lists: String = std::iter::once("a0: &a0 [x, x, x, x]\n".to_owned())
        .chain(lists)
        .collect();
    let merged = (1..40).map(|level| {
        let below = level - 1;
        format!("a{level}: &a{level} {{x: *a{below}, y: *a{below}, <<: [*a{below}, *a{below}]}}\n")
    });
    let merged: String = std::iter::once("a0: &a0 {z: 1}\n".to_owned())
        .chain(merged)
        .collect();
    // Each of them is within the limit, and stands inside the next.
    let nested = (1..200).map(|level| {
        let (open, close) = ("[".repeat(150), "]".repeat(150));
        format!("a{level}: &a{level} {open}*a{}{close}\n", level - 1)
    });
    let padding = "# padding\n".repeat(1_000_000);
    let nested: String = std::iter::once("a0: &a0 x\n".to_owned())
        .chain(nested)
        .chain([padding])
        .collect();
    let many_keys = |prefix: &str| -> String {
        (0..150_000)
            .map(|number| format!("  {prefix}{number}: 1\n"))
            .collect()
    };
    let large = "x".repeat(10 * 1024 * 1024);
    let large_block = format!(
        "a: |\n{}",
        format!("  {}\n", "x".repeat(80)).repeat(125_000)
    );
    let too_large = ("LOD002 a.yaml:1", "the document has");
    let too_deep = ("LOD002 a.yaml", "this is not YAML");
    vec![
        Case::file(
            "lists of aliases of lists",
            lists,
            ("LOD002 a.yaml", "aliases make this document far larger"),
        )
        .anywhere(),
        Case::file(
            "mappings that are merged with themselves",
            merged,
            ("LOD002 a.yaml", "aliases make this document far larger"),
        )
        .anywhere(),
        Case::file(
            "aliases that nest",
            nested,
            ("LOD002 a.yaml:4", "aliases make this document far larger"),
        ),
        Case::file(
            "two large mappings merged",
            format!("a: &a\n{}b:\n  <<: *a\n{}", many_keys("k"), many_keys("l")),
            too_large,
        ),
        Case::file(
            "a plain scalar of 10 MB",
            format!("a: {large}\n"),
            too_large,
        ),
        Case::file(
            "a quoted scalar of 10 MB",
            format!("a: \"{large}\"\n"),
            too_large,
        ),
        Case::file("a block of 10 MB", large_block, too_large),
        Case::file("a key of 10 MB", format!("? {large}\n: b\n"), too_large),
        Case::file(
            "a comment of 10 MB that silences",
            format!("a: 1 # nico-ignore: {large}\nb: 1\nb: 2\n"),
            ("FLX023 a.yaml:3", "the key \"b\" stands twice"),
        ),
        Case::file(
            "a million keys twice",
            "a: 1\n".repeat(1_000_000),
            ("LOD002 a.yaml:101", "after 100 mistakes"),
        ),
        Case::file(
            "a million broken documents",
            "a: *b\n---\n".repeat(300_000),
            ("LOD002 a.yaml:199", "after 100 mistakes"),
        ),
        Case::file("brackets", "[".repeat(1_000_000), too_deep).anywhere(),
        Case::file("braces", "{a: ".repeat(300_000), too_deep).anywhere(),
        Case::file("lists in lists", "- ".repeat(500_000), too_deep).anywhere(),
        Case::file(
            "mappings in mappings",
            (0..3_000)
                .map(|depth| format!("{}a:\n", " ".repeat(depth)))
                .collect::<String>(),
            too_deep,
        )
        .anywhere(),
    ]
}
