//! Counts the fragment spreads of a document when each is followed from the operations.

use std::collections::HashMap;

use async_graphql::indexmap::IndexMap;

use super::lexer::Token;

/// Reads definitions token by token: which fragments each operation and fragment spreads.
#[derive(Debug, Default)]
pub(super) struct Counter<'a> {
    /// In document order: the count of a cycle depends on its entry point, and must not depend on chance.
    fragments: IndexMap<&'a str, Vec<&'a str>>,
    operations: Vec<&'a str>,
    /// The fragment that is being read; `None` inside an operation.
    current: Option<&'a str>,
    expect: Expect,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Expect {
    #[default]
    Anything,
    /// After `fragment` between definitions.
    FragmentName,
    /// After `...`.
    SpreadName,
}

impl<'a> Counter<'a> {
    /// Reads the next token; `depth` is the nesting after it.
    pub fn see(&mut self, token: Token<'a>, depth: usize) {
        let expected = std::mem::take(&mut self.expect);
        match token {
            Token::Spread => self.expect = Expect::SpreadName,
            Token::Name(name) => match expected {
                Expect::FragmentName => {
                    self.current = Some(name);
                    self.fragments.entry(name).or_default();
                }
                // `... on Type` is an inline fragment.
                Expect::SpreadName if name != "on" => match self.current {
                    Some(fragment) => self.fragments.entry(fragment).or_default().push(name),
                    None => self.operations.push(name),
                },
                _ if depth == 0 && name == "fragment" => self.expect = Expect::FragmentName,
                _ if depth == 0 && matches!(name, "query" | "mutation" | "subscription") => {
                    self.current = None
                }
                _ => {}
            },
            // The shorthand query has no keyword.
            Token::Close(b'}') if depth == 0 => self.current = None,
            _ => {}
        }
    }

    /// Total number of spreads, each counted as often as an operation reaches it; saturates.
    ///
    /// Fragments that no operation reaches count too, because validation walks them as well.
    pub fn spreads(&self) -> u64 {
        let mut known: HashMap<&str, u64> = HashMap::new();
        let roots = self
            .operations
            .iter()
            .copied()
            .chain(self.fragments.keys().copied());
        let mut total: u64 = 0;
        for root in roots {
            total = total
                .saturating_add(1)
                .saturating_add(self.expand(root, &mut known));
        }
        total.saturating_sub(self.fragments.len() as u64)
    }

    /// Number of spreads below a fragment, memoised. A cycle counts once; the parser's validation refuses it.
    fn expand(&self, root: &'a str, known: &mut HashMap<&'a str, u64>) -> u64 {
        if let Some(sum) = known.get(root) {
            return *sum;
        }
        let mut stack: Vec<(&'a str, usize)> = vec![(root, 0)];
        let mut open: HashMap<&str, u64> = HashMap::from([(root, 0)]);
        while let Some((fragment, next)) = stack.pop() {
            let spreads = self.fragments.get(fragment).map_or(&[][..], Vec::as_slice);
            let Some(spread) = spreads.get(next) else {
                let sum = open.remove(fragment).unwrap_or(0);
                known.insert(fragment, sum);
                continue;
            };
            match known.get(spread) {
                Some(below) => {
                    let sum = open.entry(fragment).or_default();
                    *sum = sum.saturating_add(1).saturating_add(*below);
                    stack.push((fragment, next + 1));
                }
                None if open.contains_key(spread) => {
                    let sum = open.entry(fragment).or_default();
                    *sum = sum.saturating_add(1);
                    stack.push((fragment, next + 1));
                }
                None => {
                    stack.push((fragment, next));
                    stack.push((spread, 0));
                    open.insert(spread, 0);
                }
            }
        }
        known.get(root).copied().unwrap_or(0)
    }
}
