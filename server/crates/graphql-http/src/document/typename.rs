//! Makes validation visit the directives on `__typename`.
//!
//! The stock validation does not visit fields of that name: it accepts any directive on them, and refuses a variable
//! that only such a directive uses. So `__typename @skip(if: $a)` becomes `... @skip(if: $a) { __typename }`, which
//! means the same and is visited.

use async_graphql::Positioned;
use async_graphql::parser::types::{ExecutableDocument, InlineFragment, Selection, SelectionSet};

/// Wraps every `__typename` with directives.
pub fn expose_directives(document: &mut ExecutableDocument) {
    use async_graphql::parser::types::DocumentOperations;
    match &mut document.operations {
        DocumentOperations::Single(operation) => expose(&mut operation.node.selection_set.node),
        DocumentOperations::Multiple(operations) => {
            for operation in operations.values_mut() {
                expose(&mut operation.node.selection_set.node);
            }
        }
    }
    for fragment in document.fragments.values_mut() {
        expose(&mut fragment.node.selection_set.node);
    }
}

/// Recursion is limited by the document's nesting, which is bounded.
fn expose(selections: &mut SelectionSet) {
    for selection in &mut selections.items {
        match &mut selection.node {
            Selection::Field(field)
                if field.node.name.node == "__typename" && !field.node.directives.is_empty() =>
            {
                let pos = selection.pos;
                let directives = std::mem::take(&mut field.node.directives);
                let bare = Positioned::new(selection.node.clone(), pos);
                selection.node = Selection::InlineFragment(Positioned::new(
                    InlineFragment {
                        type_condition: None,
                        directives,
                        selection_set: Positioned::new(SelectionSet { items: vec![bare] }, pos),
                    },
                    pos,
                ));
            }
            Selection::Field(field) => expose(&mut field.node.selection_set.node),
            Selection::FragmentSpread(_) => {}
            Selection::InlineFragment(inline) => expose(&mut inline.node.selection_set.node),
        }
    }
}
