//! The words of a text, as Elasticsearch's standard analyzer has them: UAX#29 words in lower case.
//!
//! `10.0.0.1`, `v1.2.3`, `order_id`, `91.5` and `it's` are one word each; a hyphen, a slash and a space
//! separate; ideographs are words of their own; words of more than 255 characters are cut. Unicode took
//! the colon out of the letters' joiners in version 15.1; Lucene has it in, and so have we.

use unicode_segmentation::UnicodeSegmentation;

/// The most characters of a word; what is longer becomes several.
const LONGEST: usize = 255;

/// The words of `text` with their byte ranges, in its own letters.
pub fn words(text: &str, mut each: impl FnMut(usize, usize)) {
    if text.is_ascii() {
        ascii(text.as_bytes(), &mut |from, to| {
            cut(text, from, to, &mut each)
        });
    } else {
        unicode(text, &mut |from, to| cut(text, from, to, &mut each));
    }
}

/// The words of `text` in lower case.
pub fn tokens(text: &str) -> Vec<String> {
    let mut all = Vec::new();
    words(text, |from, to| all.push(lower(&text[from..to])));
    all
}

/// `text` in lower case, letter by letter, as Lucene does it: no letter becomes two.
pub fn lower(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    lower_into(text, &mut out);
    out
}

/// Appends `text` in lower case.
pub fn lower_into(text: &str, out: &mut String) {
    if text.is_ascii() {
        let from = out.len();
        out.push_str(text);
        out[from..].make_ascii_lowercase();
    } else {
        out.extend(text.chars().map(|c| c.to_lowercase().next().unwrap_or(c)));
    }
}

fn cut(text: &str, from: usize, to: usize, each: &mut impl FnMut(usize, usize)) {
    if to - from <= LONGEST {
        return each(from, to);
    }
    let (mut start, mut count) = (from, 0);
    for (at, _) in text[from..to].char_indices() {
        if count == LONGEST {
            each(start, from + at);
            (start, count) = (from + at, 0);
        }
        count += 1;
    }
    each(start, to);
}

/// What a byte is to the word rules.
#[derive(Clone, Copy, PartialEq)]
enum Class {
    Letter,
    Digit,
    /// `_`: joins on either side, is no word alone.
    Extend,
    /// `:`: joins letters.
    MidLetter,
    /// `,` and `;`: join digits.
    MidNumber,
    /// `.` and `'`: join either.
    MidBoth,
    Other,
}

const CLASSES: [Class; 128] = {
    let mut classes = [Class::Other; 128];
    let mut byte = 0;
    while byte < 128 {
        classes[byte] = match byte as u8 {
            b'a'..=b'z' | b'A'..=b'Z' => Class::Letter,
            b'0'..=b'9' => Class::Digit,
            b'_' => Class::Extend,
            b':' => Class::MidLetter,
            b',' | b';' => Class::MidNumber,
            b'.' | b'\'' => Class::MidBoth,
            _ => Class::Other,
        };
        byte += 1;
    }
    classes
};

/// The rules WB5 to WB13b for ASCII, where nothing else of UAX#29 can apply.
fn ascii(bytes: &[u8], each: &mut impl FnMut(usize, usize)) {
    let class = |at: usize| {
        bytes
            .get(at)
            .map_or(Class::Other, |b| CLASSES[usize::from(*b & 0x7f)])
    };
    let mut at = 0;
    while at < bytes.len() {
        if !matches!(class(at), Class::Letter | Class::Digit | Class::Extend) {
            at += 1;
            continue;
        }
        let from = at;
        let mut real = false;
        loop {
            let here = class(at);
            real |= here != Class::Extend;
            at += 1;
            let next = class(at);
            match next {
                Class::Letter | Class::Digit | Class::Extend => {}
                _ => {
                    let joins = match next {
                        Class::MidLetter => here == Class::Letter && class(at + 1) == Class::Letter,
                        Class::MidNumber => here == Class::Digit && class(at + 1) == Class::Digit,
                        Class::MidBoth => here != Class::Extend && class(at + 1) == here,
                        _ => false,
                    };
                    if !joins {
                        break;
                    }
                    at += 1;
                }
            }
        }
        if real {
            each(from, at);
        }
    }
}

fn is_word(segment: &str) -> bool {
    segment.chars().any(char::is_alphanumeric) || segment.chars().next().is_some_and(is_emoji)
}

/// Lucene makes words of emoji too.
fn is_emoji(c: char) -> bool {
    matches!(u32::from(c), 0x1F1E6..=0x1F1FF | 0x1F300..=0x1F64F | 0x1F680..=0x1F6FF | 0x1F900..=0x1FAFF | 0x2600..=0x27BF)
}

fn unicode(text: &str, each: &mut impl FnMut(usize, usize)) {
    // The word so far, and whether a colon may join it with what follows.
    let mut open: Option<(usize, usize)> = None;
    let mut joining = false;
    for (from, segment) in text.split_word_bound_indices() {
        let to = from + segment.len();
        let letters = |c: Option<char>| c.is_some_and(char::is_alphabetic);
        match open {
            Some((start, end))
                if joining && is_word(segment) && letters(segment.chars().next()) =>
            {
                debug_assert_eq!(end + 1, from);
                open = Some((start, to));
                joining = false;
            }
            Some((start, end))
                if !joining && segment == ":" && letters(text[start..end].chars().next_back()) =>
            {
                joining = true;
            }
            other => {
                if let Some((start, end)) = other {
                    each(start, end);
                }
                open = is_word(segment).then_some((from, to));
                joining = false;
            }
        }
    }
    if let Some((start, end)) = open {
        each(start, end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_are_those_of_the_standard_analyzer() {
        for (text, wanted) in [
            (
                "order_id=42 created for user_7",
                "order_id|42|created|for|user_7",
            ),
            (
                "disk usage 91.5% on /dev/vda1",
                "disk|usage|91.5|on|dev|vda1",
            ),
            (
                "version v1.2.3 started at 10.0.0.1:8080",
                "version|v1.2.3|started|at|10.0.0.1|8080",
            ),
            (
                "ORDER 42 shipped; order-id 43",
                "order|42|shipped|order|id|43",
            ),
            (
                "it's key:value a:1 1,000;2 x.y. _ __ _a a_",
                "it's|key:value|a|1|1,000;2|x.y|_a|a_",
            ),
            ("héllo: wörld:über 1.5", "héllo|wörld:über|1.5"),
            ("日本 ok", "日|本|ok"),
            ("", ""),
        ] {
            assert_eq!(tokens(text).join("|"), wanted, "{text}");
        }
        assert_eq!(
            tokens(&"x".repeat(600))
                .iter()
                .map(String::len)
                .collect::<Vec<_>>(),
            [255, 255, 90]
        );
    }

    proptest! {
        /// Apart from the colon, the quick way for ASCII is the general one.
        #[test]
        fn ascii_is_read_as_unicode_is(text in "[a-c0-2_.,;' \"/=-]{0,24}") {
            let (mut quick, mut general) = (Vec::new(), Vec::new());
            ascii(text.as_bytes(), &mut |a, b| quick.push(&text[a..b]));
            unicode(&text, &mut |a, b| general.push(&text[a..b]));
            prop_assert_eq!(quick, general);
        }

        #[test]
        fn any_text_is_read(text in ".{0,60}") {
            let mut last = 0;
            words(&text, |from, to| {
                assert!(last <= from && from < to && text.is_char_boundary(from) && text.is_char_boundary(to));
                last = to;
            });
        }
    }
}
