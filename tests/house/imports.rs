//! Reads which file of a crate imports from which.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{tokens, without_tests};

/// A path in the source: `use a::b as c` or `a::b` in code.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Named {
    path: Vec<String>,
    /// What the file calls it, for `use`.
    alias: Option<String>,
    /// Whether it is passed on: `pub use`, `pub(crate) use`.
    is_public: bool,
}

/// Reads all paths of a file; with them its other words, none of which are a part of `use`.
fn read(tokens: &[String]) -> (Vec<Named>, BTreeSet<String>) {
    let (mut named, mut words) = (Vec::new(), BTreeSet::new());
    let mut i = 0;
    while i < tokens.len() {
        let before = i.checked_sub(1).map_or("", |before| tokens[before].as_str());
        if tokens[i] == "use" && tokens.get(i + 1).is_some_and(|token| token != "<") {
            let end = i + tokens[i..].iter().position(|token| token == ";").unwrap_or(tokens.len() - i);
            let mut at = i + 1;
            let mut leaves = Vec::new();
            read_tree(&tokens[..end], &mut at, &[], &mut leaves);
            let is_public = before == "pub" || before == ")";
            named.extend(leaves.into_iter().map(|(path, alias)| Named { path, alias: Some(alias), is_public }));
            i = end;
        } else if is_name(&tokens[i]) && !["::", ".", "fn", "mod"].contains(&before) {
            let mut path = vec![tokens[i].clone()];
            while tokens.get(i + 1).is_some_and(|token| token == "::")
                && let Some(next) = tokens.get(i + 2).filter(|next| is_name(next))
            {
                path.push(next.clone());
                i += 2;
            }
            match path.len() {
                1 => words.extend(path),
                _ => named.push(Named { path, alias: None, is_public: false }),
            }
        }
        i += 1;
    }
    (named, words)
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Reads `a::{b, c as d, self}`: each path, and what it is called.
fn read_tree(tokens: &[String], at: &mut usize, prefix: &[String], leaves: &mut Vec<(Vec<String>, String)>) {
    let mut path = prefix.to_vec();
    while *at < tokens.len() {
        let token = tokens[*at].as_str();
        *at += 1;
        match token {
            "::" if path.is_empty() => path.push("::".to_owned()),
            "::" => {}
            "{" => {
                while *at < tokens.len() && tokens[*at] != "}" {
                    read_tree(tokens, at, &path, leaves);
                    if tokens.get(*at).is_some_and(|token| token == ",") {
                        *at += 1;
                    }
                }
                *at += 1;
                return;
            }
            "as" => {
                let alias = tokens.get(*at).cloned().unwrap_or_default();
                *at += 1;
                leaves.push((path, alias));
                return;
            }
            "," | "}" => {
                *at -= 1;
                break;
            }
            "self" if !path.is_empty() => {}
            name => path.push(name.to_owned()),
        }
    }
    if let Some(alias) = path.last().cloned() {
        leaves.push((path, alias));
    }
}

/// What a file says.
struct File {
    name: String,
    module: Vec<String>,
    named: Vec<Named>,
    words: BTreeSet<String>,
}

/// The files of a crate by their modules.
pub struct House {
    files: BTreeMap<Vec<String>, File>,
    is_module: BTreeSet<Vec<String>>,
}

/// More steps than a name takes from one file that passes it on to the next.
const MOST_STEPS: u32 = 8;

impl House {
    /// Reads files, each by its name below `src` and its text.
    pub fn new(files: Vec<(String, String)>) -> Self {
        let mut house = Self { files: BTreeMap::new(), is_module: BTreeSet::new() };
        for (name, text) in files {
            let mut module: Vec<String> = name.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
            if module == ["lib"] || module.last().is_some_and(|last| last == "mod") {
                module.pop();
            }
            let is_test = |part: &String| part == "tests" || part.ends_with("_tests") || part == "testing";
            if module.iter().any(is_test) {
                continue;
            }
            let (named, words) = read(&without_tests(&tokens(&text)));
            house.is_module.extend((0..=module.len()).map(|depth| module[..depth].to_vec()));
            house.files.insert(module.clone(), File { name, module, named, words });
        }
        house
    }

    /// A path as the file writes it, from the crate's root; `None` for what is not of this crate.
    fn absolute(&self, file: &File, path: &[String]) -> Option<Vec<String>> {
        let (first, rest) = path.split_first()?;
        let mut base = match first.as_str() {
            "crate" => Vec::new(),
            "vsitlm" if file.module == ["main"] => Vec::new(),
            "self" => file.module.clone(),
            "super" => {
                let ups = path.iter().take_while(|part| *part == "super").count();
                let depth = file.module.len().checked_sub(ups)?;
                return Some([&file.module[..depth], &path[ups..]].concat());
            }
            child => {
                let inside = [&file.module[..], &[child.to_owned()]].concat();
                if !self.is_module.contains(&inside) && !self.aliases(file).any(|alias| alias.1 == child) {
                    return None;
                }
                inside
            }
        };
        base.extend(rest.iter().cloned());
        Some(base)
    }

    fn aliases<'a>(&self, file: &'a File) -> impl Iterator<Item = (&'a Named, &'a str)> {
        file.named.iter().filter_map(|named| Some((named, named.alias.as_deref()?)))
    }

    /// The module whose file defines what an absolute path names; `None` for a module itself and for what is not of this
    /// crate.
    fn defining(&self, path: &[String], steps: u32) -> Option<&File> {
        let mut depth = 0;
        while depth < path.len() && self.is_module.contains(&path[..=depth]) {
            depth += 1;
        }
        let passed_on = |depth: usize| {
            let (module, name) = (path.get(..depth)?, path.get(depth)?);
            let file = self.files.get(module)?;
            // A name may be that of a module and of what it defines: `mod open; pub use open::open;`.
            let (named, _) = self.aliases(file).find(|(named, alias)| alias == name && named.path != *path)?;
            let first = named.path.first()?;
            if named.path.len() == 1 || first == name && !self.is_module.contains(&path[..=depth]) {
                return None;
            }
            let target = self.absolute(file, &named.path)?;
            Some([&target[..], &path[depth + 1..]].concat())
        };
        if steps > 0 {
            let from = if depth == path.len() { depth.checked_sub(1) } else { Some(depth) };
            if let Some(target) = from.and_then(passed_on).filter(|target| target != path) {
                return self.defining(&target, steps - 1);
            }
        }
        if depth == path.len() { None } else { self.files.get(&path[..depth]) }
    }

    /// Every import, as the names of two files: the first imports from the second.
    pub fn imports(&self) -> BTreeSet<(&str, &str)> {
        let mut imports = BTreeSet::new();
        for file in self.files.values() {
            for named in &file.named {
                let Some(path) = self.absolute(file, &named.path) else { continue };
                let is_inside = path.starts_with(&file.module) && path.len() > file.module.len() + 1;
                let is_used = named.alias.as_ref().is_none_or(|alias| file.words.contains(alias));
                // What is only passed on, or is a module that paths begin with, which are counted by themselves.
                if named.is_public && is_inside && !is_used {
                    continue;
                }
                let Some(target) = self.defining(&path, MOST_STEPS) else { continue };
                if target.module != file.module {
                    imports.insert((file.name.as_str(), target.name.as_str()));
                }
            }
        }
        imports
    }

    /// The imports of files that are part of a circle.
    pub fn circles(&self) -> BTreeSet<(&str, &str)> {
        circles(&self.imports())
    }

    /// The same of the folders and files of each room.
    pub fn circles_of_parts(&self) -> BTreeSet<(&str, &str)> {
        // `ffi.rs` is the folder `ffi`, as `ffi/mod.rs` would be.
        let part = |file: &str| {
            let file = file.trim_end_matches(".rs");
            file.match_indices('/').nth(1).map_or(file.len(), |(at, _)| at)
        };
        let imports = self.imports().into_iter().map(|(file, other)| (&file[..part(file)], &other[..part(other)]));
        circles(&imports.filter(|(part, other)| part != other).collect())
    }
}

/// Those of `imports` that are part of a circle.
fn circles<'a>(imports: &BTreeSet<(&'a str, &'a str)>) -> BTreeSet<(&'a str, &'a str)> {
    let mut from: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (part, other) in imports {
        from.entry(part).or_default().push(other);
    }
    let reached: BTreeMap<&str, BTreeSet<&str>> = from.keys().map(|part| (*part, reach(&from, part))).collect();
    let leads_to = |part: &str, other: &str| reached.get(part).is_some_and(|reached| reached.contains(other));
    imports.iter().filter(|(part, other)| leads_to(other, part)).copied().collect()
}

/// What imports lead to from `start`.
fn reach<'a>(imports: &BTreeMap<&'a str, Vec<&'a str>>, start: &str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<&str> = vec![start];
    while let Some(at) = open.pop() {
        for next in imports.get(at).into_iter().flatten() {
            if reached.insert(*next) {
                open.push(next);
            }
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    fn house(files: &[(&str, &str)]) -> House {
        House::new(files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect())
    }

    fn imports(files: &[(&str, &str)]) -> Vec<(String, String)> {
        house(files).imports().into_iter().map(|(file, other)| (file.to_owned(), other.to_owned())).collect()
    }

    fn is_import(files: &[(&str, &str)], file: &str, other: &str) -> bool {
        imports(files).contains(&(file.to_owned(), other.to_owned()))
    }

    #[test]
    fn imports_are_read_however_they_are_written() {
        let b = ("b/mod.rs", "mod deep; pub(crate) use deep::Thing; pub fn f() {} pub mod inner;");
        let rest = [("b/deep.rs", "pub struct Thing;"), ("b/inner.rs", "pub fn g() {}")];
        for (text, other) in [
            ("use crate::b::f;", "b/mod.rs"),
            ("use crate::{b::{f}, c};", "b/mod.rs"),
            ("use super::b::f as other;", "b/mod.rs"),
            ("use crate::b::Thing;", "b/deep.rs"),
            ("use crate::b; fn h(_: b::Thing) {}", "b/deep.rs"),
            ("use crate::b::{self, inner}; fn h() { inner::g() }", "b/inner.rs"),
            ("fn h() { crate::b::inner::g() }", "b/inner.rs"),
            ("struct S { x: super::b::Thing }", "b/deep.rs"),
            ("#[cfg(test)] mod tests; use crate::b::f;", "b/mod.rs"),
            ("#[cfg(test)] use crate::x::{y, z}; use crate::b::f;", "b/mod.rs"),
            ("#[cfg(not(test))] use crate::b::f;", "b/mod.rs"),
            ("struct S { #[cfg(test)] x: A<u8, u8>, y: crate::b::Thing }", "b/deep.rs"),
        ] {
            let files = [&[("lib.rs", "mod a; mod b;"), ("a.rs", text), b][..], &rest].concat();
            assert!(is_import(&files, "a.rs", other), "{text}: {:?}", imports(&files));
        }
        for text in [
            "#[cfg(test)] use crate::b::f;",
            "#[cfg(test)] mod tests { use crate::b::f; }",
            "#[cfg(all(test, unix))] fn h() { crate::b::f() }",
            "// crate::b::f\nconst X: &str = \"crate::b::f\";",
            "use ::b::f;",
            "pub(in crate::b) fn h() {}",
        ] {
            let files = [("lib.rs", "mod a; mod b;"), ("a.rs", text), b, rest[0], rest[1]];
            let found = imports(&files);
            assert!(found.iter().all(|(file, _)| file != "a.rs"), "{text}: {found:?}");
        }
    }

    #[test]
    fn circles_are_found() {
        let circle = |files: &[(&str, &str)]| house(files).circles().len();
        assert_eq!(circle(&[("a.rs", "use crate::b::B;"), ("b.rs", "use crate::a::A;")]), 2);
        assert_eq!(circle(&[("a.rs", "use crate::b::B;"), ("b.rs", "pub struct B;")]), 0);
        let three = [("a.rs", "use crate::b::B;"), ("b.rs", "use crate::c::C;"), ("c.rs", "fn f() { super::a::g() }")];
        assert_eq!(circle(&three), 3);
        // By way of what a room passes on.
        let passing = ("r/mod.rs", "mod a; mod b; pub(crate) use a::A; pub(crate) use b::B;");
        assert_eq!(circle(&[passing, ("r/a.rs", "use super::B;"), ("r/b.rs", "use super::A;")]), 2);
        assert_eq!(circle(&[passing, ("r/a.rs", "use super::B;"), ("r/b.rs", "pub struct B;")]), 0);
        // Of folders, no two files of which make one.
        let folders = house(&[
            ("r/a/x.rs", "use crate::r::b::y::Y;"),
            ("r/b/y.rs", "pub struct Y;"),
            ("r/b/z.rs", "use crate::r::a::w::W;"),
            ("r/a/w.rs", "pub struct W;"),
        ]);
        assert_eq!((folders.circles().len(), folders.circles_of_parts().len()), (0, 2));
        // A name that is a module's too.
        let same = ("r/mod.rs", "mod open; mod b; pub(crate) use open::open;");
        let used = ("r/b.rs", "use super::open; fn f() { open() }");
        assert_eq!(circle(&[same, ("r/open.rs", "use super::b::B;"), used]), 2);
    }

    #[test]
    fn a_room_that_uses_its_children_imports_from_them() {
        let child = ("r/a.rs", "use super::Root; pub struct A;");
        let root = "mod a; pub(crate) struct Root";
        let circle = |text: String| house(&[("r/mod.rs", &text), child]).circles().len();
        assert_eq!(circle(format!("{root}; pub(crate) use a::A;")), 0);
        assert_eq!(circle(format!("{root} {{ a: A }} pub(crate) use a::A;")), 2);
        assert_eq!(circle(format!("{root} {{ a: A }} use a::A;")), 2);
        assert_eq!(circle(format!("{root}; fn f() {{ a::g() }}")), 2);
        assert_eq!(circle(format!("{root}; #[cfg(test)] fn f() {{ a::g() }}")), 0);
    }
}
