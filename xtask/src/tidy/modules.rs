//! The modules of a crate have an order: none depends on another one that depends on it. A folder and the files in it may, if
//! the folder's `mod.rs` is part of it: they are one concept then. This reads `use` declarations and paths, not types, so it can
//! miss a dependency that is by a method only.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Source;

/// Crates whose modules have an order.
const CRATES: [&str; 13] = [
    "gateway/config/src/",
    "gateway/core/src/",
    "gateway/http/src/",
    "gateway/pipeline/src/",
    "gateway/proxy/src/",
    "gateway/route/src/",
    "gateway/rules/src/",
    "gateway/server/src/",
    "gateway/src/",
    "gateway/state/src/",
    "gateway/telemetry/src/",
    "gateway/upstream/src/",
    "gateway/wasm/src/",
];

/// Re-exports of re-exports that are followed.
const MAX_REEXPORTS: usize = 8;

type Path = Vec<String>;

/// What a module says of others.
#[derive(Default)]
struct Module {
    uses: Vec<Use>,
    /// Paths outside of `use` declarations.
    paths: Vec<Path>,
}

struct Use {
    path: Path,
    /// What it is called here.
    name: String,
    public: bool,
}

pub fn check(sources: &[Source]) -> Vec<String> {
    CRATES.iter().filter_map(|root| check_crate(root, sources)).collect()
}

fn check_crate(root: &str, sources: &[Source]) -> Option<String> {
    let mut modules = BTreeMap::new();
    let mut tests = BTreeSet::new();
    for source in sources {
        let Some(file) = source.path.strip_prefix(root).and_then(|file| file.strip_suffix(".rs")) else { continue };
        let mut path: Path = file.split('/').map(str::to_owned).collect();
        if path.last().is_some_and(|last| last == "mod" || last == "lib" || last == "main") {
            path.pop();
        }
        let (tokens, of_tests) = without_tests(tokens(&source.text));
        tests.extend(of_tests.into_iter().map(|name| [&path[..], &[name]].concat()));
        modules.insert(path, parse(&tokens));
    }
    modules.retain(|path, _| !tests.iter().any(|test| path.starts_with(test)));
    let dependencies = dependencies(&modules);
    let circle = dependencies.keys().find_map(|path| circle(path, &dependencies))?;
    let names: Vec<String> = circle.iter().map(name).collect();
    let names = names.join(" -> ");
    Some(format!("{root}: modules depend on each other: {names}; move what they share into a lower module"))
}

fn name(path: &Path) -> String {
    if path.is_empty() { "lib".to_owned() } else { path.join("::") }
}

/// The modules that each module depends on.
fn dependencies(modules: &BTreeMap<Path, Module>) -> BTreeMap<Path, BTreeSet<Path>> {
    let mut all = BTreeMap::new();
    for (path, module) in modules {
        let is_root = path.is_empty();
        // That the root re-exports what others define does not make it depend on them.
        let used = module.uses.iter().filter(|used| !(is_root && used.public)).map(|used| &used.path);
        let found = used.chain(&module.paths).filter_map(|used| resolve(path, used, modules, 0));
        all.insert(path.clone(), found.filter(|found| found != path).collect());
    }
    all
}

/// The module in which that which a path leads to is defined; none if it is of another crate.
fn resolve(from: &Path, path: &[String], modules: &BTreeMap<Path, Module>, depth: usize) -> Option<Path> {
    let (mut at, mut rest) = match path.first()?.as_str() {
        "crate" => (Path::new(), &path[1..]),
        "self" => (from.clone(), &path[1..]),
        "super" => {
            let levels = path.iter().take_while(|part| *part == "super").count();
            (from[..from.len().checked_sub(levels)?].to_vec(), &path[levels..])
        }
        child if modules.contains_key(&[&from[..], &[child.to_owned()]].concat()) => (from.clone(), path),
        _ => return None,
    };
    while let Some((child, others)) = rest.split_first() {
        let below = [&at[..], std::slice::from_ref(child)].concat();
        if !modules.contains_key(&below) {
            break;
        }
        (at, rest) = (below, others);
    }
    let Some((item, others)) = rest.split_first() else { return Some(at) };
    let reexport = modules.get(&at)?.uses.iter().find(|used| used.name == *item);
    let elsewhere = reexport.filter(|_| depth < MAX_REEXPORTS).and_then(|used| {
        let path = [&used.path[..], others].concat();
        resolve(&at, &path, modules, depth + 1)
    });
    Some(elsewhere.unwrap_or(at))
}

/// The shortest way from a module back to itself, unless it stays within a folder and passes its `mod.rs`.
fn circle(start: &Path, dependencies: &BTreeMap<Path, BTreeSet<Path>>) -> Option<Vec<Path>> {
    let mut came_from: BTreeMap<&Path, &Path> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(at) = queue.pop_front() {
        for next in dependencies.get(at)? {
            if next == start {
                let mut way = vec![start.clone()];
                let mut back = at;
                while back != start {
                    way.push(back.clone());
                    back = came_from.get(back)?;
                }
                way.push(start.clone());
                way.reverse();
                let is_one_concept =
                    |folder: &&Path| !folder.is_empty() && way.iter().all(|path| path.starts_with(folder));
                return way.iter().find(is_one_concept).is_none().then_some(way);
            }
            if !came_from.contains_key(next) {
                came_from.insert(next, at);
                queue.push_back(next);
            }
        }
    }
    None
}

/// Identifiers, `::`, and other characters one by one; without comments, strings and characters.
fn tokens(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let at = |index: usize| chars.get(index).copied().unwrap_or('\0');
    let mut tokens = Vec::new();
    let mut i = 0;
    while i < chars.len() {
        match chars[i] {
            '/' if at(i + 1) == '/' => i = end(&chars, i, "\n"),
            '/' if at(i + 1) == '*' => i = end(&chars, i + 2, "*/"),
            '"' => {
                i += 1;
                while i < chars.len() && chars[i] != '"' {
                    i += if chars[i] == '\\' { 2 } else { 1 };
                }
                i += 1;
            }
            '\'' if at(i + 1) == '\\' => i = end(&chars, i + 3, "'"),
            '\'' if at(i + 2) == '\'' => i += 3,
            ':' if at(i + 1) == ':' => {
                tokens.push("::".to_owned());
                i += 2;
            }
            c if c.is_alphanumeric() || c == '_' => {
                let begin = i;
                while at(i).is_alphanumeric() || at(i) == '_' {
                    i += 1;
                }
                let word: String = chars[begin..i].iter().collect();
                let hashes = chars[i..].iter().take_while(|c| **c == '#').count();
                if (word == "r" || word == "br") && at(i + hashes) == '"' {
                    i = end(&chars, i + hashes + 1, &format!("\"{}", "#".repeat(hashes)));
                } else {
                    tokens.push(word);
                }
            }
            c if c.is_whitespace() => i += 1,
            c => {
                tokens.push(c.to_string());
                i += 1;
            }
        }
    }
    tokens
}

/// Behind the next place where this text is.
fn end(chars: &[char], from: usize, text: &str) -> usize {
    let text: Vec<char> = text.chars().collect();
    let found = (from..chars.len()).find(|at| chars[*at..].starts_with(&text));
    found.map_or(chars.len(), |at| at + text.len())
}

/// Leaves out what is only compiled for tests, and names the modules among it.
fn without_tests(tokens: Vec<String>) -> (Vec<String>, Vec<String>) {
    const TEST: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let (mut kept, mut modules) = (Vec::new(), Vec::new());
    let mut i = 0;
    while i < tokens.len() {
        if !tokens[i..].iter().take(TEST.len()).eq(TEST) {
            kept.push(tokens[i].clone());
            i += 1;
            continue;
        }
        i += TEST.len();
        let mut depth = 0;
        while i < tokens.len() {
            match tokens[i].as_str() {
                "{" | "[" | "(" => depth += 1,
                "}" | "]" | ")" => depth -= 1,
                "mod" if depth == 0 => modules.extend(tokens.get(i + 1).cloned()),
                _ => {}
            }
            i += 1;
            if depth == 0 && matches!(tokens[i - 1].as_str(), ";" | "}") {
                break;
            }
        }
    }
    (kept, modules)
}

fn parse(tokens: &[String]) -> Module {
    let mut module = Module::default();
    let mut i = 0;
    while i < tokens.len() {
        if tokens[i] == "use" {
            let length = tokens[i..].iter().take_while(|token| *token != ";").count();
            let public = i > 0 && (tokens[i - 1] == "pub" || tokens[i - 1] == ")");
            use_tree(&tokens[i + 1..i + length], &Path::new(), public, &mut module.uses);
            i += length;
            continue;
        }
        let is_start = i == 0 || !matches!(tokens[i - 1].as_str(), "::" | ".");
        if is_start && tokens.get(i + 1).is_some_and(|next| next == "::") {
            let mut path = vec![tokens[i].clone()];
            while tokens.get(i + 1).is_some_and(|next| next == "::")
                && tokens.get(i + 2).is_some_and(|next| is_word(next))
            {
                path.push(tokens[i + 2].clone());
                i += 2;
            }
            module.paths.push(path);
        }
        i += 1;
    }
    module
}

fn is_word(token: &str) -> bool {
    token.chars().all(|c| c.is_alphanumeric() || c == '_')
}

/// One branch of a `use` declaration, or several.
fn use_tree(tokens: &[String], prefix: &Path, public: bool, uses: &mut Vec<Use>) {
    let mut path = prefix.clone();
    for (i, token) in tokens.iter().enumerate() {
        match token.as_str() {
            "::" | "*" => {}
            "{" => {
                let inner = tokens[i + 1..].strip_suffix(&["}".to_owned()]).unwrap_or(&tokens[i + 1..]);
                let mut depth = 0;
                let branches = inner.split(|token| {
                    match token.as_str() {
                        "{" => depth += 1,
                        "}" => depth -= 1,
                        _ => {}
                    }
                    depth == 0 && token == ","
                });
                branches.filter(|branch| !branch.is_empty()).for_each(|branch| use_tree(branch, &path, public, uses));
                return;
            }
            "self" if !path.is_empty() => {}
            "as" => {
                let name = tokens.get(i + 1).cloned().unwrap_or_default();
                return uses.push(Use { path, name, public });
            }
            _ => path.push(token.clone()),
        }
    }
    let name = path.last().cloned().unwrap_or_default();
    uses.push(Use { path, name, public });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::source;

    fn checked(files: &[(&str, &str)]) -> Vec<String> {
        let sources: Vec<_> =
            files.iter().map(|(path, text)| source(&format!("gateway/http/src/{path}"), text)).collect();
        check(&sources)
    }

    #[test]
    fn modules_that_depend_on_each_other_are_found() {
        let findings = checked(&[
            ("lib.rs", "mod a; mod b; mod c; pub use a::A;"),
            ("a.rs", "use super::{b::{self, B}, c::C};"),
            ("b.rs", "fn f() { crate::c::g(); }"),
            ("c.rs", "use crate::A;"),
        ]);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].contains("a -> c -> a"), "{findings:?}");
    }

    #[test]
    fn what_the_root_defines_is_a_module_of_its_own() {
        assert_eq!(checked(&[("lib.rs", "mod a; use a::A; pub struct B(A);"), ("a.rs", "use super::B;")]).len(), 1);
        assert!(checked(&[("lib.rs", "mod a; pub use a::A;"), ("a.rs", "use std::fmt;")]).is_empty());
    }

    #[test]
    fn a_folder_with_its_files_is_one_concept_and_its_files_alone_are_not() {
        let root = ("lib.rs", "mod a;");
        let own = [root, ("a/mod.rs", "mod b; use b::B; struct A(B);"), ("a/b.rs", "use super::A;")];
        assert!(checked(&own).is_empty());
        let files =
            [root, ("a/mod.rs", "mod b; mod c;"), ("a/b.rs", "use super::c::C;"), ("a/c.rs", "use super::b::B;")];
        assert_eq!(checked(&files).len(), 1);
    }

    #[test]
    fn tests_comments_and_strings_are_not_read() {
        let findings = checked(&[
            ("lib.rs", "mod a; mod b; #[cfg(test)] mod tests;"),
            ("a.rs", "use super::b::B;"),
            (
                "b.rs",
                "// crate::a::A\nconst A: &str = r#\"crate::a::A \" crate::a::A\"#; const Q: char = '\"'; \
                 #[cfg(test)]\nmod tests { use crate::a::A; } /* crate::a */ fn f<'a>(_: &'a str) {}",
            ),
            ("tests.rs", "use crate::a::A;"),
        ]);
        assert_eq!(findings, Vec::<String>::new());
    }
}
