//! How messages are written: numbered fields, one after the other.

/// A field's value as it is written.
#[derive(Clone, Copy, Debug)]
pub enum Wire<'a> {
    /// A number, or whether something is so.
    Varint(u64),
    /// Eight bytes, which are a number with a fraction.
    Fixed64([u8; 8]),
    /// Text, bytes, or another message.
    Bytes(&'a [u8]),
    /// Four bytes, which no message of Kubernetes has.
    Fixed32,
}

/// The fields of a message, with their numbers.
pub fn fields(bytes: &[u8]) -> impl Iterator<Item = Result<(u64, Wire<'_>), String>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let field = next_field(&mut rest);
        if field.is_none() {
            rest = &[];
        }
        Some(field.ok_or_else(|| "a message ends in the middle of a field".to_owned()))
    })
}

/// The numbers of a list that is written as one value.
pub fn packed(bytes: &[u8]) -> impl Iterator<Item = Result<u64, String>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let number = varint(&mut rest);
        if number.is_none() {
            rest = &[];
        }
        Some(number.ok_or_else(|| "a list of numbers ends in the middle of one".to_owned()))
    })
}

fn next_field<'a>(rest: &mut &'a [u8]) -> Option<(u64, Wire<'a>)> {
    let key = varint(rest)?;
    let wire = match key & 7 {
        0 => Wire::Varint(varint(rest)?),
        1 => Wire::Fixed64(take(rest, 8)?.try_into().ok()?),
        2 => {
            let length = usize::try_from(varint(rest)?).ok()?;
            Wire::Bytes(take(rest, length)?)
        }
        5 => {
            take(rest, 4)?;
            Wire::Fixed32
        }
        _ => return None,
    };
    Some((key >> 3, wire))
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(rest, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
