//! nginx's syntax: directives with arguments, which end with `;` or have a block.

use std::{iter::Peekable, str::Chars};

use crate::ImportError;

/// Deeper blocks are refused.
const MAX_DEPTH: usize = 32;

#[derive(Clone, Debug)]
pub(super) struct Directive {
    pub(super) line: usize,
    pub(super) name: String,
    pub(super) args: Vec<String>,
    /// The directives of its block, if it has one.
    pub(super) block: Option<Vec<Directive>>,
}

enum Token {
    Word(String),
    End,
    Open,
    Close,
}

/// Reads a whole file.
pub(super) fn parse(text: &str) -> Result<Vec<Directive>, ImportError> {
    let tokens = tokens(text)?;
    let mut rest = &tokens[..];
    let directives = block(&mut rest, 0)?;
    match rest.first() {
        None => Ok(directives),
        Some((line, _)) => Err(ImportError::Invalid(format!("line {line}: `}}` closes no block"))),
    }
}

fn block(rest: &mut &[(usize, Token)], depth: usize) -> Result<Vec<Directive>, ImportError> {
    let mut directives = Vec::new();
    let mut words: Vec<String> = Vec::new();
    let mut begins = 0;
    while let Some(((line, token), others)) = rest.split_first() {
        match token {
            Token::Close if words.is_empty() => return Ok(directives),
            Token::Close => return Err(ImportError::Invalid(format!("line {line}: `{}` ends without `;`", words[0]))),
            Token::Word(word) => {
                if words.is_empty() {
                    begins = *line;
                }
                words.push(word.clone());
                *rest = others;
            }
            Token::End | Token::Open if words.is_empty() => {
                return Err(ImportError::Invalid(format!("line {line}: expected a directive")));
            }
            Token::End => {
                *rest = others;
                directives.push(directive(begins, &mut words, None));
            }
            Token::Open => {
                if depth == MAX_DEPTH {
                    return Err(ImportError::Invalid(format!(
                        "line {line}: more than {MAX_DEPTH} blocks within another"
                    )));
                }
                *rest = others;
                let inner = block(rest, depth + 1)?;
                let Some(((_, Token::Close), others)) = rest.split_first() else {
                    return Err(ImportError::Invalid(format!(
                        "line {begins}: the block of `{}` is not closed",
                        words[0]
                    )));
                };
                *rest = others;
                directives.push(directive(begins, &mut words, Some(inner)));
            }
        }
    }
    match words.first() {
        None => Ok(directives),
        Some(word) => Err(ImportError::Invalid(format!("line {begins}: `{word}` ends without `;`"))),
    }
}

fn directive(line: usize, words: &mut Vec<String>, block: Option<Vec<Directive>>) -> Directive {
    let mut words = std::mem::take(words).into_iter();
    Directive { line, name: words.next().unwrap_or_default(), args: words.collect(), block }
}

fn tokens(text: &str) -> Result<Vec<(usize, Token)>, ImportError> {
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\n' => line += 1,
            c if c.is_whitespace() => {}
            '#' => while chars.next_if(|c| *c != '\n').is_some() {},
            ';' => tokens.push((line, Token::End)),
            '{' => tokens.push((line, Token::Open)),
            '}' => tokens.push((line, Token::Close)),
            '"' | '\'' => {
                let begins = line;
                let mut word = String::new();
                loop {
                    match chars.next() {
                        None => {
                            return Err(ImportError::Invalid(format!("line {begins}: the quote {c} is not closed")));
                        }
                        Some(end) if end == c => break,
                        Some('\\') => match chars.peek() {
                            Some('"' | '\'' | '\\') => word.extend(chars.next()),
                            Some('n') => escaped(&mut chars, &mut word, '\n'),
                            Some('r') => escaped(&mut chars, &mut word, '\r'),
                            Some('t') => escaped(&mut chars, &mut word, '\t'),
                            _ => word.push('\\'),
                        },
                        Some(other) => {
                            line += usize::from(other == '\n');
                            word.push(other);
                        }
                    }
                }
                tokens.push((begins, Token::Word(word)));
            }
            c => {
                let mut word = String::from(c);
                loop {
                    match chars.peek() {
                        // A variable in braces: `${name}`.
                        Some('{') if word.ends_with('$') => {
                            while let Some(c) = chars.next_if(|c| *c != '\n') {
                                word.push(c);
                                if c == '}' {
                                    break;
                                }
                            }
                        }
                        Some(c) if c.is_whitespace() || matches!(c, ';' | '{' | '}') => break,
                        Some('\\') => {
                            word.extend(chars.next());
                            word.extend(chars.next_if(|c| *c != '\n'));
                        }
                        Some(_) => word.extend(chars.next()),
                        None => break,
                    }
                }
                tokens.push((line, Token::Word(word)));
            }
        }
    }
    Ok(tokens)
}

/// A letter after a backslash stands for a control character.
fn escaped(chars: &mut Peekable<Chars<'_>>, word: &mut String, means: char) {
    chars.next();
    word.push(means);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_quotes_comments_and_variables_are_read() {
        let text =
            "# a\nhttp {\n  log_format x '$a \\'b\\'\n c';\n  server { return 301 https://${host}$uri; } # d\n}\n";
        let read = parse(text).unwrap();
        let [http] = &read[..] else { panic!("{read:?}") };
        let [format, server] = &http.block.as_ref().unwrap()[..] else { panic!("{http:?}") };
        assert_eq!((format.line, &format.args[1][..]), (3, "$a 'b'\n c"));
        let inner = &server.block.as_ref().unwrap()[0];
        assert_eq!((inner.line, &inner.name[..], &inner.args[1][..]), (5, "return", "https://${host}$uri"));
    }

    #[test]
    fn mistakes_name_their_lines() {
        for (text, message) in [
            ("http {\n", "line 1: the block of `http` is not closed"),
            ("}\n", "line 1: `}` closes no block"),
            ("\na b\n", "line 2: `a` ends without `;`"),
            ("http { a }", "line 1: `a` ends without `;`"),
            ("a 'b;\n", "line 1: the quote ' is not closed"),
            ("\n;", "line 2: expected a directive"),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), message, "{text}");
        }
        assert!(parse(&"a {".repeat(100_000)).is_err(), "without recursion to the end of the stack");
    }
}
