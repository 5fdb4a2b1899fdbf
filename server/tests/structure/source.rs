//! Finds the paths that a source file uses.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMod, ItemUse, UseTree};

/// A source file as a module of its crate.
pub struct Source {
    pub path: PathBuf,
    /// Its path in the crate, such as `engine::queue`; empty for the root.
    pub module: String,
    /// Paths within the crate that its code uses, from the crate's root and without tests: `engine::queue::Queue`.
    pub within: BTreeSet<String>,
    /// Crates that it uses, in tests too.
    pub crates: BTreeSet<String>,
}

/// The folders of the workspace's crates.
pub fn crates(root: &Path) -> Vec<PathBuf> {
    let mut found = vec![root.join("server"), root.join("harness")];
    for folder in [root.join("server/crates"), root.join("harness")] {
        let entries = fs::read_dir(folder).expect("a folder of the workspace can be read");
        let paths = entries.map(|entry| entry.expect("an entry of it too").path());
        found.extend(paths.filter(|path| path.join("Cargo.toml").exists()));
    }
    found.sort();
    found
}

/// Every Rust file below a folder.
pub fn sources(folder: &Path) -> Vec<Source> {
    let mut folders = vec![folder.to_owned()];
    let mut found = Vec::new();
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).expect("a folder of the workspace can be read") {
            let path = entry.expect("an entry of it too").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let code = fs::read_to_string(&path).expect("source is text");
                let module = module(path.strip_prefix(folder).expect("found below it"));
                found.push(Source {
                    path,
                    ..read(&module, &code)
                });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!found.is_empty(), "no source in {}", folder.display());
    found
}

/// The paths that a module with this code uses.
pub fn read(module: &str, code: &str) -> Source {
    let file = syn::parse_file(code).unwrap_or_else(|error| panic!("{module}: {error}"));
    let mut reader = Reader {
        module: segments(module),
        inline: Vec::new(),
        in_tests: is_test_module(module),
        within: BTreeSet::new(),
        crates: BTreeSet::new(),
    };
    reader.visit_file(&file);
    Source {
        path: PathBuf::new(),
        module: module.to_owned(),
        within: reader.within,
        crates: reader.crates,
    }
}

fn module(path: &Path) -> String {
    let path = path.with_extension("");
    let names: Vec<_> = path.iter().filter_map(|name| name.to_str()).collect();
    match names[..] {
        ["lib" | "main"] => String::new(),
        _ => names.join("::"),
    }
}

fn segments(module: &str) -> Vec<String> {
    module
        .split("::")
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Test modules are in files and folders with these names.
fn is_test_module(module: &str) -> bool {
    segments(module)
        .iter()
        .any(|name| name == "tests" || name == "testing" || name == "samples" || name.ends_with("_tests"))
}

struct Reader {
    module: Vec<String>,
    /// The inline modules around the code that is being read.
    inline: Vec<String>,
    in_tests: bool,
    within: BTreeSet<String>,
    crates: BTreeSet<String>,
}

impl Reader {
    fn take(&mut self, path: &[String]) {
        let Some((first, rest)) = path.split_first() else {
            return;
        };
        let here = || self.module.iter().chain(&self.inline).cloned();
        let mut base: Vec<String> = match first.as_str() {
            "crate" => Vec::new(),
            "self" => here().collect(),
            "super" => {
                let mut parent: Vec<_> = here().collect();
                parent.pop();
                parent
            }
            _ => {
                self.crates.insert(first.clone());
                return;
            }
        };
        for name in rest {
            match name.as_str() {
                "super" => drop(base.pop()),
                "self" => {}
                _ => base.push(name.clone()),
            }
        }
        if !self.in_tests {
            self.within.insert(base.join("::"));
        }
    }

    fn take_tree(&mut self, before: &[String], tree: &UseTree) {
        let with = |name: String| [before, &[name]].concat();
        match tree {
            UseTree::Path(path) => self.take_tree(&with(path.ident.to_string()), &path.tree),
            UseTree::Name(name) => self.take(&with(name.ident.to_string())),
            UseTree::Rename(rename) => self.take(&with(rename.ident.to_string())),
            UseTree::Glob(_) => self.take(before),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.take_tree(before, tree)),
        }
    }
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<syn::Path>()
                .is_ok_and(|path| path.is_ident("test"))
    })
}

impl<'a> Visit<'a> for Reader {
    fn visit_item(&mut self, item: &'a Item) {
        let attributes = match item {
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Mod(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            _ => &Vec::new(),
        };
        let before = self.in_tests;
        self.in_tests |= is_for_tests(attributes);
        visit::visit_item(self, item);
        self.in_tests = before;
    }

    fn visit_item_mod(&mut self, item: &'a ItemMod) {
        self.inline.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.inline.pop();
    }

    fn visit_item_use(&mut self, item: &'a ItemUse) {
        self.take_tree(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        if path.segments.len() > 1 {
            let names: Vec<_> = path
                .segments
                .iter()
                .map(|segment| segment.ident.to_string())
                .collect();
            self.take(&names);
        }
        visit::visit_path(self, path);
    }
}
