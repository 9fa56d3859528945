//! The functions of CEL that rules may call.

/// Functions, and methods of values.
const FUNCTIONS: &str = "\
    add all asApproximateFloat asInteger bind bool bytes charAt cidr compareTo contains \
    containsCIDR containsIP distinct double duration dyn endsWith equivalent exists \
    existsOne exists_one family filter find findAll first flatten format getDate \
    getDayOfMonth getDayOfWeek getDayOfYear getEscapedPath getFullYear getHost getHostname \
    getHours getMilliseconds getMinutes getMonth getPort getQuery getScheme getSeconds \
    hasValue indexOf int intersects ip isCIDR isCanonical isGlobalUnicast isGreaterThan isIP \
    isInteger isLessThan isLinkLocalMulticast isLinkLocalUnicast isLoopback isQuantity \
    isSemver isSorted isURL isUnspecified join last lastIndexOf lowerAscii major map masked \
    matches max min minor named none of ofNonZeroValue optFlatMap optMap or orValue patch \
    prefixLength quantity quote replace reverse semver sign size slice sort sortBy split \
    startsWith string sub substring sum timestamp transformList transformMap \
    transformMapEntry trim type uint upperAscii url validate value";

/// Methods that only texts have.
const TEXT_METHODS: &str = "\
    charAt endsWith find findAll lowerAscii matches replace split startsWith upperAscii";

/// Checks that a function exists. Operators have names that no function has.
///
/// # Errors
/// What Kubernetes says of a function that nobody declared.
pub(super) fn check_exists(name: &str) -> Result<(), String> {
    let operator = !name.starts_with(|first: char| first.is_ascii_alphabetic());
    if operator || lists(FUNCTIONS, name) {
        return Ok(());
    }
    Err(format!(
        "undeclared reference to '{name}' (in container '')"
    ))
}

/// Whether only texts have this method.
pub(super) fn is_of_text(name: &str) -> bool {
    lists(TEXT_METHODS, name)
}

fn lists(names: &str, name: &str) -> bool {
    names.split_ascii_whitespace().any(|known| known == name)
}
