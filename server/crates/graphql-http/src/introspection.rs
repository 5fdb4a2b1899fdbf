//! Measures the cost of a document's fields under `__schema` and `__type`, and the depth of its other fields.
//!
//! The library counts a field under `__schema` once, however many types there are, and has one limit on depth for
//! both. This module counts a field under `__schema` and `__type` as often as the response has it, deprecated or not.
//! It stops counting past a limit, so that refusing a document costs little. Nothing is executed.

use async_graphql::parser::types::{ExecutableDocument, Field, OperationDefinition, Selection, SelectionSet};
use async_graphql::registry::{MetaDirective, MetaField, MetaInputValue, MetaType, MetaTypeName, Registry};
use async_graphql::{Value, Variables};
use async_graphql_value::Value as Literal;

use crate::limits::MAX_NESTING;

/// The result of measuring.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// Number of fields under `__schema` and `__type`, including these two, as often as the response has them.
    pub answered: usize,
    /// Number of the same fields as often as the document has them, fragments expanded: the library's count.
    pub written: usize,
    /// Maximum depth of fields outside of `__schema` and `__type`.
    pub deepest: usize,
}

/// Measures all operations of a document; stops once the response would have more than `limit` introspection fields.
pub fn measure(
    registry: &Registry,
    document: &ExecutableDocument,
    variables: &Variables,
    limit: usize,
) -> Measured {
    let mut measure = Measure {
        registry,
        document,
        variables,
        limit,
        measured: Measured::default(),
    };
    for (_, operation) in document.operations.iter() {
        measure.outside(&operation.node, &operation.node.selection_set.node, 1);
    }
    measure.measured
}

/// The object that a field under `__schema` is selected on.
#[derive(Clone, Copy)]
enum Node<'a> {
    Schema,
    /// As written, with its brackets.
    Type(&'a str),
    Field(&'a MetaField),
    Input(&'a MetaInputValue),
    Directive(&'a MetaDirective),
    EnumValue,
}

struct Measure<'a> {
    registry: &'a Registry,
    document: &'a ExecutableDocument,
    variables: &'a Variables,
    limit: usize,
    measured: Measured,
}

impl<'a> Measure<'a> {
    fn outside(&mut self, operation: &'a OperationDefinition, set: &'a SelectionSet, depth: usize) {
        if depth > MAX_NESTING {
            return;
        }
        for field in self.fields(set) {
            let nodes = match field.name.node.as_str() {
                // The library skips it too.
                "__typename" => continue,
                "__schema" => vec![Node::Schema],
                "__type" => self.named(operation, field).into_iter().collect(),
                _ => {
                    self.measured.deepest = self.measured.deepest.max(depth);
                    self.outside(operation, &field.selection_set.node, depth + 1);
                    continue;
                }
            };
            self.measured.answered += 1;
            self.measured.written += 1;
            self.written(&field.selection_set.node, 1);
            self.answered(&field.selection_set.node, &nodes, 1);
        }
    }

    /// The type that `__type` asks for, if there is one with that name.
    fn named(&self, operation: &'a OperationDefinition, field: &'a Field) -> Option<Node<'a>> {
        let name = match &field.get_argument("name")?.node {
            Literal::String(name) => name,
            Literal::Variable(variable) => match self.variables.get(variable) {
                Some(Value::String(name)) => name,
                Some(_) => return None,
                None => {
                    let mut definitions = operation.variable_definitions.iter();
                    let definition = definitions.find(|definition| definition.node.name.node == *variable)?;
                    match &definition.node.default_value.as_ref()?.node {
                        Value::String(name) => name,
                        _ => return None,
                    }
                }
            },
            _ => return None,
        };
        let (name, _) = self.registry.types.get_key_value(name.as_str())?;
        Some(Node::Type(name))
    }

    /// The fields of a selection, including those of its fragments.
    fn fields(&self, set: &'a SelectionSet) -> Vec<&'a Field> {
        let mut fields = Vec::with_capacity(set.items.len());
        self.collect(set, 0, &mut fields);
        fields
    }

    /// Stops at [`MAX_NESTING`]: a cycle of fragments, or a deeper selection, is refused later.
    fn collect(&self, set: &'a SelectionSet, depth: usize, fields: &mut Vec<&'a Field>) {
        if depth > MAX_NESTING {
            return;
        }
        for selection in &set.items {
            match &selection.node {
                Selection::Field(field) => fields.push(&field.node),
                Selection::InlineFragment(inline) => {
                    self.collect(&inline.node.selection_set.node, depth + 1, fields);
                }
                Selection::FragmentSpread(spread) => {
                    let fragment = self.document.fragments.get(&spread.node.fragment_name.node);
                    if let Some(fragment) = fragment {
                        self.collect(&fragment.node.selection_set.node, depth + 1, fields);
                    }
                }
            }
        }
    }

    fn written(&mut self, set: &'a SelectionSet, depth: usize) {
        if depth > MAX_NESTING {
            return;
        }
        for field in self.fields(set) {
            if field.name.node != "__typename" {
                self.measured.written += 1;
                self.written(&field.selection_set.node, depth + 1);
            }
        }
    }

    /// Counts the fields selected on each of `nodes`.
    fn answered(&mut self, set: &'a SelectionSet, nodes: &[Node<'a>], depth: usize) {
        if nodes.is_empty() || depth > MAX_NESTING {
            return;
        }
        for field in self.fields(set) {
            self.measured.answered += nodes.len();
            let Some(left) = self.limit.checked_sub(self.measured.answered) else {
                return;
            };
            let mut inner = Vec::new();
            for node in nodes {
                self.step(*node, &field.name.node, &mut inner);
                // Each of them has at least one selected field.
                if inner.len() > left {
                    self.measured.answered += inner.len();
                    return;
                }
            }
            self.answered(&field.selection_set.node, &inner, depth + 1);
        }
    }

    /// Adds the nodes that a field returns; none if its value has no fields.
    fn step(&self, node: Node<'a>, field: &str, to: &mut Vec<Node<'a>>) {
        let registry = self.registry;
        match (node, field) {
            (Node::Schema, "types") => to.extend(registry.types.keys().map(|name| Node::Type(name))),
            (Node::Schema, "queryType") => to.push(Node::Type(&registry.query_type)),
            (Node::Schema, "mutationType") => {
                to.extend(registry.mutation_type.as_deref().map(Node::Type));
            }
            (Node::Schema, "subscriptionType") => {
                to.extend(registry.subscription_type.as_deref().map(Node::Type));
            }
            (Node::Schema, "directives") => to.extend(registry.directives.values().map(Node::Directive)),
            (Node::Type(name), _) => match MetaTypeName::create(name) {
                MetaTypeName::NonNull(inner) | MetaTypeName::List(inner) if field == "ofType" => {
                    to.push(Node::Type(inner));
                }
                MetaTypeName::Named(name) => self.step_of_named(name, field, to),
                _ => {}
            },
            (Node::Field(of), "type") => to.push(Node::Type(&of.ty)),
            (Node::Input(of), "type") => to.push(Node::Type(&of.ty)),
            (Node::Field(of), "args") => to.extend(of.args.values().map(Node::Input)),
            (Node::Directive(of), "args") => to.extend(of.args.values().map(Node::Input)),
            _ => {}
        }
    }

    fn step_of_named(&self, name: &str, field: &str, to: &mut Vec<Node<'a>>) {
        let Some(ty) = self.registry.types.get(name) else {
            return;
        };
        match (ty, field) {
            (_, "fields") => to.extend(
                ty.fields()
                    .into_iter()
                    .flatten()
                    .map(|(_, field)| Node::Field(field)),
            ),
            (_, "possibleTypes") => {
                to.extend(
                    ty.possible_types()
                        .into_iter()
                        .flatten()
                        .map(|name| Node::Type(name)),
                );
            }
            (_, "interfaces") => {
                let interfaces = self.registry.implements.get(name);
                to.extend(interfaces.into_iter().flatten().map(|name| Node::Type(name)));
            }
            (MetaType::Enum { enum_values, .. }, "enumValues") => {
                to.extend(enum_values.values().map(|_| Node::EnumValue));
            }
            (MetaType::InputObject { input_fields, .. }, "inputFields") => {
                to.extend(input_fields.values().map(Node::Input));
            }
            _ => {}
        }
    }
}
