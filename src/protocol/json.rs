//! Appending JSON to a byte buffer: strings, numbers, members.
//!
//! Owns how our own frames are written. Reads nothing; whoever parses uses `fields`.
//! Called by every encoder of this layer. Nothing here fails and nothing here needs a second
//! buffer, which is what `serde_json::to_writer` could not promise.

/// Appends `text` as a JSON string (RFC 8259 section 7: only `"`, `\` and control characters
/// must be escaped).
pub(super) fn push_str(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\')
    {
        let (plain, from_special) = rest.split_at(at);
        out.extend_from_slice(plain);
        let Some((&special, after)) = from_special.split_first() else { break };
        push_escape(out, special);
        rest = after;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

fn push_escape(out: &mut Vec<u8>, byte: u8) {
    let short = match byte {
        b'"' => b'"',
        b'\\' => b'\\',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        _ => {
            out.extend_from_slice(b"\\u00");
            out.push(hex_digit(byte >> 4));
            out.push(hex_digit(byte & 0x0f));
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// The lowercase hex digit of a value below 16.
pub(super) fn hex_digit(nibble: u8) -> u8 {
    match nibble {
        0..=9 => b'0'.saturating_add(nibble),
        _ => b'a'.saturating_add(nibble.saturating_sub(10)),
    }
}

/// Appends a whole number.
pub(super) fn push_u64(out: &mut Vec<u8>, number: u64) {
    // 2^64 has 20 decimal digits.
    let mut digits = [b'0'; 20];
    let mut rest = number;
    let mut used = 0_usize;
    for digit in digits.iter_mut().rev() {
        *digit = b'0'.saturating_add(u8::try_from(rest % 10).unwrap_or(0));
        rest /= 10;
        used = used.saturating_add(1);
        if rest == 0 {
            break;
        }
    }
    let unused = digits.len().saturating_sub(used);
    out.extend(digits.iter().skip(unused));
}

/// Appends a count.
pub(super) fn push_usize(out: &mut Vec<u8>, number: usize) {
    push_u64(out, u64::try_from(number).unwrap_or(u64::MAX));
}

/// Appends `true` or `false`.
pub(super) fn push_bool(out: &mut Vec<u8>, truth: bool) {
    out.extend_from_slice(if truth { b"true" } else { b"false" });
}

/// Appends a JSON array of what `push` appends for each item.
pub(super) fn push_array<T>(
    out: &mut Vec<u8>,
    items: impl IntoIterator<Item = T>,
    mut push: impl FnMut(&mut Vec<u8>, T),
) {
    out.push(b'[');
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        push(out, item);
    }
    out.push(b']');
}

/// Writes one JSON object, a member at a time.
/// Keys are our own and need no escaping.
pub(super) struct ObjectWriter<'o> {
    out: &'o mut Vec<u8>,
    empty: bool,
}

impl<'o> ObjectWriter<'o> {
    /// Opens the object.
    pub(super) fn open(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, empty: true }
    }

    /// Writes a key and hands out the buffer for its value, which the caller must then append.
    pub(super) fn key(&mut self, key: &str) -> &mut Vec<u8> {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    /// A string.
    pub(super) fn str(&mut self, key: &str, text: &str) -> &mut Self {
        push_str(self.key(key), text);
        self
    }

    /// A string, if there is one.
    pub(super) fn opt_str(&mut self, key: &str, text: Option<&str>) -> &mut Self {
        match text {
            Some(text) => self.str(key, text),
            None => self,
        }
    }

    /// A whole number.
    pub(super) fn u64(&mut self, key: &str, number: u64) -> &mut Self {
        push_u64(self.key(key), number);
        self
    }

    /// A count.
    pub(super) fn usize(&mut self, key: &str, number: usize) -> &mut Self {
        push_usize(self.key(key), number);
        self
    }

    /// A truth value.
    pub(super) fn bool(&mut self, key: &str, truth: bool) -> &mut Self {
        push_bool(self.key(key), truth);
        self
    }

    /// JSON text that is already valid.
    pub(super) fn raw(&mut self, key: &str, json: &str) -> &mut Self {
        self.key(key).extend_from_slice(json.as_bytes());
        self
    }

    /// Members that are already written, without braces and not empty.
    pub(super) fn members(&mut self, members: &str) -> &mut Self {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        self.out.extend_from_slice(members.as_bytes());
        self
    }

    /// An object.
    pub(super) fn object(
        &mut self,
        key: &str,
        fill: impl FnOnce(&mut ObjectWriter<'_>),
    ) -> &mut Self {
        let mut inner = ObjectWriter::open(self.key(key));
        fill(&mut inner);
        inner.close();
        self
    }

    /// An array of strings.
    pub(super) fn strs<'t>(
        &mut self,
        key: &str,
        texts: impl IntoIterator<Item = &'t str>,
    ) -> &mut Self {
        push_array(self.key(key), texts, push_str);
        self
    }

    /// Closes the object.
    pub(super) fn close(self) {
        self.out.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_read_back_as_they_were_for_every_character_that_is_special() {
        let every_low_character: String = (0..0x100).filter_map(char::from_u32).collect();
        for text in
            ["", "plain", "\"", "\\", "a\"b\\c\nd", "\u{0}\u{7f}\u{2028}é🦀", &*every_low_character]
        {
            let mut out = Vec::new();
            push_str(&mut out, text);
            assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }

    #[test]
    fn numbers_are_written_as_the_standard_library_writes_them() {
        for number in [0, 1, 9, 10, 99, 100, 1_795_346_722_361, u64::MAX] {
            let mut out = Vec::new();
            push_u64(&mut out, number);
            assert_eq!(String::from_utf8(out).unwrap(), number.to_string());
        }
    }

    #[test]
    fn an_object_separates_its_members() {
        let mut out = Vec::new();
        let mut object = ObjectWriter::open(&mut out);
        object.str("a", "x").opt_str("b", None).u64("c", 3).members("\"d\":4,\"e\":5");
        object.object("f", |inner| {
            inner.bool("g", true);
        });
        object.strs("h", ["i", "j"]).object("k", |_| ());
        object.close();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"a":"x","c":3,"d":4,"e":5,"f":{"g":true},"h":["i","j"],"k":{}}"#
        );
    }
}
