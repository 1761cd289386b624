//! A configuration's text for people who may see it and not its secrets: those have numbers in their places, by which a text
//! that was edited gets them back.
//!
//! Secrets belong into `secrets`, where a configuration only names them. What is in the text all the same is found by where it
//! stands: in URLs before the host, and as the value of a key that says what it is.

use std::ops::Range;

/// Keys of this name, or that end in one of them behind a `-` or `_`.
/// `k` is the value of a symmetric JSON Web Key (RFC 7518 §6.4.1).
const KEYS: [&str; 8] = ["secret", "password", "passphrase", "token", "api-key", "private-key", "credentials", "k"];
const BEFORE: &str = "<masked ";
const BEHIND: char = '>';

/// A text without its secrets, and what they were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Masked {
    pub text: String,
    secrets: Vec<String>,
}

impl Masked {
    /// A value that is the name of one of `named` is none.
    pub fn of(text: &str, named: &dyn Fn(&str) -> bool) -> Self {
        let mut masked = Self { text: String::with_capacity(text.len()), secrets: Vec::new() };
        let mut from = 0;
        for range in found(text, named) {
            masked.text.push_str(&text[from..range.start]);
            masked.secrets.push(text[range.clone()].to_owned());
            masked.text.push_str(&format!("{BEFORE}{}{BEHIND}", masked.secrets.len()));
            from = range.end;
        }
        masked.text.push_str(&text[from..]);
        masked
    }

    /// Puts the secrets back into a text that was made from this one.
    ///
    /// # Errors
    ///
    /// The number of a secret that there is not.
    pub fn unmask(&self, text: &str) -> Result<String, String> {
        let mut whole = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find(BEFORE) {
            whole.push_str(&rest[..at]);
            let behind = &rest[at + BEFORE.len()..];
            let end = behind.find(BEHIND).filter(|end| *end <= 6);
            let number = end.and_then(|end| behind[..end].parse::<usize>().ok());
            match (number, end) {
                (Some(number), Some(end)) => {
                    let secret = number.checked_sub(1).and_then(|place| self.secrets.get(place));
                    whole.push_str(secret.ok_or_else(|| format!("{BEFORE}{number}{BEHIND}"))?);
                    rest = &behind[end + 1..];
                }
                _ => {
                    whole.push_str(BEFORE);
                    rest = behind;
                }
            }
        }
        whole.push_str(rest);
        Ok(whole)
    }
}

/// Where secrets are, in order and apart.
fn found(text: &str, named: &dyn Fn(&str) -> bool) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    let mut at = 0;
    // What a value of more than one line goes on as.
    let mut open: Option<Open> = None;
    for line in text.split_inclusive('\n') {
        let content = line.trim_end_matches(['\n', '\r']);
        let start = at;
        at += line.len();
        let mut from = 0;
        match open.take() {
            Some(Open::Block(indent)) => {
                let own = content.len() - content.trim_start().len();
                if content.trim().is_empty() || own > indent {
                    if !content.trim().is_empty() {
                        ranges.push(start + own..start + content.len());
                    }
                    open = Some(Open::Block(indent));
                    continue;
                }
            }
            Some(Open::Quoted(quote)) => match closing(content, 0, quote) {
                Some(end) => {
                    ranges.push(start..start + end);
                    from = end;
                }
                None => {
                    ranges.push(start..start + content.len());
                    open = Some(Open::Quoted(quote));
                    continue;
                }
            },
            None => {}
        }
        open = in_line(content, from, start, named, &mut ranges);
    }
    ranges.retain(|range| !range.is_empty());
    ranges
}

enum Open {
    /// A block scalar of a key that is so far to the right.
    Block(usize),
    Quoted(char),
}

fn in_line(
    line: &str,
    mut from: usize,
    start: usize,
    named: &dyn Fn(&str) -> bool,
    ranges: &mut Vec<Range<usize>>,
) -> Option<Open> {
    while let Some(colon) = line[from..].find(':').map(|at| from + at) {
        from = colon + 1;
        let rest = &line[from..];
        if let Some(authority) = rest.strip_prefix("//") {
            let ends = |c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '"' | '\'' | ',' | ']' | '}');
            let authority = &authority[..authority.find(ends).unwrap_or(authority.len())];
            if let Some(length) = authority.rfind('@') {
                let begin = from + 2;
                ranges.push(start + begin..start + begin + length);
                from = begin + length;
            }
            continue;
        }
        let value = rest.trim_start();
        let begin = from + rest.len() - value.len();
        // Without a space behind it, it is a part of something else, unless what follows is quoted.
        let is_key = value.len() < rest.len() || value.starts_with(['"', '\'']);
        if !is_key || !is_secret(&line[..colon]) {
            continue;
        }
        match value.chars().next() {
            None | Some('{' | '[' | '#' | '&' | '*' | '!') => {}
            Some('|' | '>') => return Some(Open::Block(line.len() - line.trim_start().len())),
            Some(quote @ ('"' | '\'')) => {
                let inner = begin + 1;
                match closing(line, inner, quote) {
                    Some(end) => {
                        if !named(&line[inner..end]) {
                            ranges.push(start + inner..start + end);
                        }
                        from = end;
                    }
                    None => {
                        ranges.push(start + inner..start + line.len());
                        return Some(Open::Quoted(quote));
                    }
                }
            }
            Some(_) => {
                let flow = line[..colon].contains(['{', '[']);
                let mut end = line.find(" #").filter(|end| *end > begin).unwrap_or(line.len());
                if flow {
                    end = line[begin..end].find([',', '}', ']']).map_or(end, |length| begin + length);
                }
                let length = line[begin..end].trim_end().len();
                if !named(&line[begin..begin + length]) {
                    ranges.push(start + begin..start + begin + length);
                }
                from = begin + length;
            }
        }
    }
    None
}

/// Where a quoted value ends. `''` and `\"` are within it.
fn closing(line: &str, from: usize, quote: char) -> Option<usize> {
    let mut chars = line[from..].char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if quote == '"' && c == '\\' {
            chars.next();
        } else if c == quote {
            if quote == '\'' && chars.peek().is_some_and(|(_, next)| *next == '\'') {
                chars.next();
            } else {
                return Some(from + at);
            }
        }
    }
    None
}

/// Whether what stands before a colon ends in a key that says so.
fn is_secret(before: &str) -> bool {
    let key = before.trim_end().trim_end_matches(['"', '\'']);
    let begins = key.rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_')).map_or(0, |at| at + 1);
    let key = key.get(begins..).unwrap_or_default().to_ascii_lowercase().replace('_', "-");
    KEYS.iter().any(|name| key.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('-')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(text: &str) -> Masked {
        Masked::of(text, &|name| name == "signing-key")
    }

    #[test]
    fn secrets_have_numbers_in_their_places_and_come_back() {
        for (text, expected) in [
            ("keys: [{ alg: HS256, secret: so secret }]\n", "keys: [{ alg: HS256, secret: <masked 1> }]\n"),
            ("secret: so secret # really\n", "secret: <masked 1> # really\n"),
            ("\"secret\": \"a \\\" b\", x: 1\n", "\"secret\": \"<masked 1>\", x: 1\n"),
            ("{\"password\":\"x\"}\n", "{\"password\":\"<masked 1>\"}\n"),
            ("a: { client-secret: 'it''s', token: t }\n", "a: { client-secret: '<masked 1>', token: <masked 2> }\n"),
            ("url: redis://u:p@h:1/0\n", "url: redis://<masked 1>@h:1/0\n"),
            ("secret: |\n  one\n\n  two\nb: 1\n", "secret: |\n  <masked 1>\n\n  <masked 2>\nb: 1\n"),
            ("secret: \"one\n  two\" # c\nb: 1\n", "secret: \"<masked 1>\n<masked 2>\" # c\nb: 1\n"),
            ("API_KEY: abc", "API_KEY: <masked 1>"),
        ] {
            let masked = masked(text);
            assert_eq!(masked.text, expected);
            assert_eq!(masked.unmask(&masked.text).as_deref(), Ok(text));
        }
    }

    #[test]
    fn what_is_no_secret_stays() {
        for text in [
            "secrets: { signing-key: { env: KEY } }\n",
            "admin: { access: [{ name: ops, token: signing-key }] }\n",
            "plugins: { jwt: { grants: { secrets: [a] } } }\n",
            "secret: { from: signing-key }\n",
            "path: /token:refresh\n",
            "endpoints: ['http://127.0.0.1:9001']\n",
            "tokens: 5\n",
            "secret:\n  file: x\n",
        ] {
            assert_eq!(masked(text).text, text);
        }
    }

    #[test]
    fn a_text_that_was_edited_gets_them_back_where_they_are_now() {
        let masked = masked("a: { secret: one }\nb: { secret: two }\n");
        let edited = "b: { secret: <masked 2> }\nc: 1\na: { secret: new }\n";
        assert_eq!(masked.unmask(edited).as_deref(), Ok("b: { secret: two }\nc: 1\na: { secret: new }\n"));
        assert_eq!(masked.unmask("x: <masked 3>"), Err("<masked 3>".to_owned()));
        assert_eq!(masked.unmask("x: <masked 0>"), Err("<masked 0>".to_owned()));
        assert_eq!(masked.unmask("x: <masked what>").as_deref(), Ok("x: <masked what>"));
        assert_eq!(masked.unmask("x: <masked ").as_deref(), Ok("x: <masked "));
    }
}
