//! Checks that values fit their types, before anything is executed.
//!
//! Finds every number in a document that should be an `Int` and is not, and every variable that does not fit its
//! declaration, however it is used. The stock validation does neither: it leaves both to the field that reads the
//! value, which may never run, or run after others. Texts that
//! [`SchemaRules::unfit`] refuses are found here too, because only here is their position in a list known. Resolvers check the other scalars.

use std::collections::HashMap;

use async_graphql::indexmap::IndexMap;
use async_graphql::parser::types::{
    Directive, ExecutableDocument, Field, OperationDefinition, OperationType, Selection, SelectionSet,
};
use async_graphql::registry::{MetaInputValue, MetaType, MetaTypeName, Registry};
use async_graphql::{IntrospectionMode, Name, Pos, Positioned, ServerError, Value as Input, Variables};
use async_graphql_value::Value as Literal;

use super::numbers::{self, Inexact, Step};
use crate::error::{ErrorCode, with_code};
use crate::schema_rules::SchemaRules;

/// Finds, in a document parsed from `text`:
///
/// - `Int` literals that do not fit into 32 bits,
/// - numbers that would lose digits where any JSON is accepted,
/// - texts that [`SchemaRules::unfit`] refuses,
/// - introspection where it is switched off: the library would return null.
pub fn misfit_literals(
    registry: &Registry,
    rules: &dyn SchemaRules,
    document: &ExecutableDocument,
    text: &str,
) -> Vec<ServerError> {
    let mut walk = Literals {
        registry,
        rules,
        inexact: numbers::inexact(text),
        misfits: Vec::new(),
    };
    for (_, operation) in document.operations.iter() {
        let root = match operation.node.ty {
            OperationType::Query => Some(registry.query_type.as_str()),
            OperationType::Mutation => registry.mutation_type.as_deref(),
            OperationType::Subscription => registry.subscription_type.as_deref(),
        };
        for variable in &operation.node.variable_definitions {
            if let Some(default) = &variable.node.default_value {
                let default_value = default.node.clone().into_value();
                let place = format!("${}", variable.node.name.node);
                let declared = variable.node.var_type.to_string();
                walk.value(&declared, &default_value, default.pos, &place);
                walk.digits(&declared, default.pos);
            }
        }
        walk.directives(&operation.node.directives);
        walk.selections(root, &operation.node.selection_set.node);
    }
    // Each fragment once, not as often as it is spread.
    for fragment in document.fragments.values() {
        let on = fragment.node.type_condition.node.on.node.as_str();
        walk.selections(Some(on), &fragment.node.selection_set.node);
    }
    walk.misfits
}

struct Literals<'a> {
    registry: &'a Registry,
    rules: &'a dyn SchemaRules,
    /// By the position of the value that contains them.
    inexact: HashMap<Pos, Vec<Inexact<'a>>>,
    misfits: Vec<ServerError>,
}

impl Literals<'_> {
    /// Recursion is limited by the document's nesting, which is bounded.
    fn selections(&mut self, parent: Option<&str>, selections: &SelectionSet) {
        for selection in &selections.items {
            match &selection.node {
                Selection::Field(field) => self.field(parent, &field.node),
                Selection::FragmentSpread(spread) => self.directives(&spread.node.directives),
                Selection::InlineFragment(inline) => {
                    self.directives(&inline.node.directives);
                    let on = inline
                        .node
                        .type_condition
                        .as_ref()
                        .map(|condition| condition.node.on.node.as_str());
                    self.selections(on.or(parent), &inline.node.selection_set.node);
                }
            }
        }
    }

    fn field(&mut self, parent: Option<&str>, field: &Field) {
        self.directives(&field.directives);
        let registry = self.registry;
        let name = field.name.node.as_str();
        if registry.introspection_mode == IntrospectionMode::Disabled && matches!(name, "__schema" | "__type")
        {
            self.misfits.push(ServerError::new(
                format!("`{name}` cannot be queried: introspection is switched off."),
                Some(field.name.pos),
            ));
        }
        let known = parent
            .and_then(|parent| registry.types.get(parent))
            .and_then(|parent| parent.field_by_name(&field.name.node));
        if let Some(known) = known {
            self.arguments(&known.args, &field.arguments);
        }
        let inner = known.map(|known| MetaTypeName::concrete_typename(&known.ty));
        self.selections(inner, &field.selection_set.node);
    }

    fn directives(&mut self, directives: &[Positioned<Directive>]) {
        for directive in directives {
            if let Some(known) = self.registry.directives.get(directive.node.name.node.as_str()) {
                self.arguments(&known.args, &directive.node.arguments);
            }
        }
    }

    fn arguments<'m, M>(&mut self, known: M, given: &[(Positioned<Name>, Positioned<Literal>)])
    where
        M: IntoIterator<Item = (&'m String, &'m MetaInputValue)>,
    {
        let known: Vec<_> = known.into_iter().collect();
        for (name, value) in given {
            let argument = known
                .iter()
                .find(|(known, _)| known.as_str() == name.node.as_str());
            if let Some((_, argument)) = argument {
                self.value(&argument.ty, &value.node, value.pos, name.node.as_str());
                self.digits(&argument.ty, value.pos);
            }
        }
    }

    /// A number in the value that begins at `pos`, as the document writes it, and its position if that is known.
    fn written(&self, number: &async_graphql::Number, pos: Pos) -> (String, Pos) {
        let inexact = self.inexact.get(&pos).into_iter().flatten();
        let mut written = inexact.filter(|inexact| inexact.is(number));
        match written.next() {
            Some(inexact) => (inexact.shown(), inexact.pos),
            None => (number.to_string(), pos),
        }
    }

    /// Reports numbers in the value that begins at `pos` that would lose digits where any JSON is accepted.
    fn digits(&mut self, expected: &str, pos: Pos) {
        for inexact in self.inexact.get(&pos).into_iter().flatten() {
            if is_any_json(self.registry, self.rules, expected, &inexact.steps) {
                self.misfits
                    .push(ServerError::new(inexact.told(), Some(inexact.pos)));
            }
        }
    }

    /// `place` is the path to the value, starting at the argument or the variable: only arguments have a position of
    /// their own.
    fn value(&mut self, expected: &str, value: &Literal, pos: Pos, place: &str) {
        match (MetaTypeName::create(expected), value) {
            (MetaTypeName::NonNull(inner), _) => self.value(inner, value, pos, place),
            (MetaTypeName::List(inner), Literal::List(elements)) => {
                for (at, element) in elements.iter().enumerate() {
                    self.value(inner, element, pos, &format!("{place}[{at}]"));
                }
            }
            (MetaTypeName::List(inner), _) => self.value(inner, value, pos, place),
            (MetaTypeName::Named("Int"), Literal::Number(number)) if !is_int(number) => {
                let (digits, pos) = self.written(number, pos);
                self.misfits.push(ServerError::new(
                    format!(
                        "`Int` cannot represent {digits}: it must be a whole number of 32 bits, written without fraction and \
                         exponent (and zero without `-`)."
                    ),
                    Some(pos),
                ));
            }
            (MetaTypeName::Named(name), Literal::String(text)) => {
                if let Some(why) = self.rules.unfit(name, text) {
                    let error = ServerError::new(format!("`{place}` {why}."), Some(pos));
                    self.misfits.push(with_code(error, ErrorCode::BadUserInput));
                }
            }
            (MetaTypeName::Named(name), Literal::Object(fields)) => {
                if let Some(MetaType::InputObject { input_fields, .. }) = self.registry.types.get(name) {
                    for (name, value) in fields {
                        if let Some(field) = input_fields.get(name.as_str()) {
                            self.value(&field.ty, value, pos, &format!("{place}.{name}"));
                        }
                    }
                }
            }
            _ => {}
        }
    }
}

/// Whether any JSON is accepted at the end of these steps, starting from a value of this type.
fn is_any_json(registry: &Registry, rules: &dyn SchemaRules, expected: &str, steps: &[Step<'_>]) -> bool {
    match (MetaTypeName::create(expected), steps) {
        (MetaTypeName::NonNull(inner), _) => is_any_json(registry, rules, inner, steps),
        (MetaTypeName::List(inner), [Step::Element, rest @ ..]) => is_any_json(registry, rules, inner, rest),
        // A single value counts as a list with one element.
        (MetaTypeName::List(inner), _) => is_any_json(registry, rules, inner, steps),
        (MetaTypeName::Named(name), _) if rules.is_any_json(name) => true,
        (MetaTypeName::Named(name), [Step::Field(field), rest @ ..]) => match registry.types.get(name) {
            Some(MetaType::InputObject { input_fields, .. }) => input_fields
                .get(*field)
                .is_some_and(|field| is_any_json(registry, rules, &field.ty, rest)),
            _ => false,
        },
        _ => false,
    }
}

fn is_int(number: &async_graphql::Number) -> bool {
    number
        .as_i64()
        .is_some_and(|number| i32::try_from(number).is_ok())
}

/// Variables that do not fit their declaration, at most one error each.
pub fn misfit_variables(
    registry: &Registry,
    rules: &dyn SchemaRules,
    operation: &OperationDefinition,
    variables: &Variables,
) -> Vec<ServerError> {
    let mut misfits = Vec::new();
    for definition in &operation.variable_definitions {
        let declared = definition.node.var_type.to_string();
        // Validation reports a type that is unknown or not an input type.
        let concrete = MetaTypeName::concrete_typename(&declared);
        if !registry.types.get(concrete).is_some_and(MetaType::is_input) {
            continue;
        }
        let name = definition.node.name.node.as_str();
        let wrong = match variables.get(name) {
            Some(value) => misfit(registry, rules, &declared, value, &format!("${name}")),
            None if definition.node.default_value.is_some() => None,
            None => MetaTypeName::create(&declared)
                .is_non_null()
                .then(|| format!("`${name}` of type `{declared}` is missing.")),
        };
        if let Some(why) = wrong {
            misfits.push(ServerError::new(why, Some(definition.pos)));
        }
    }
    misfits
}

/// The first fault and its path. Recursion is limited by the request's JSON, which is bounded.
fn misfit(
    registry: &Registry,
    rules: &dyn SchemaRules,
    expected: &str,
    value: &Input,
    place: &str,
) -> Option<String> {
    let named = match MetaTypeName::create(expected) {
        MetaTypeName::NonNull(_) if *value == Input::Null => {
            return Some(format!("`{place}` must not be null: its type is `{expected}`."));
        }
        MetaTypeName::NonNull(inner) => return misfit(registry, rules, inner, value, place),
        MetaTypeName::List(inner) => {
            return match value {
                Input::Null => None,
                Input::List(elements) => elements.iter().enumerate().find_map(|(at, element)| {
                    misfit(registry, rules, inner, element, &format!("{place}[{at}]"))
                }),
                // A single value counts as a list with one element.
                _ => misfit(registry, rules, inner, value, place),
            };
        }
        MetaTypeName::Named(named) => named,
    };
    if *value == Input::Null {
        return None;
    }
    let unfit = || Some(format!("`{place}` is not of type `{named}`."));
    if let Input::String(text) = value
        && let Some(why) = rules.unfit(named, text)
    {
        return Some(format!("`{place}` {why}."));
    }
    match registry.types.get(named)? {
        MetaType::Scalar { is_valid, .. } => {
            let fits = match (named, value) {
                ("Int", Input::Number(number)) => is_int(number),
                _ => is_valid.as_ref().is_none_or(|is_valid| is_valid(value)),
            };
            if fits { None } else { unfit() }
        }
        MetaType::Enum { enum_values, .. } => match value {
            Input::Enum(name) if enum_values.contains_key(name.as_str()) => None,
            Input::String(name) if enum_values.contains_key(name.as_str()) => None,
            _ => unfit(),
        },
        MetaType::InputObject { input_fields, .. } => {
            let Input::Object(given) = value else {
                return unfit();
            };
            misfit_field(registry, rules, named, input_fields, given, place)
        }
        MetaType::Object { .. } | MetaType::Interface { .. } | MetaType::Union { .. } => unfit(),
    }
}

/// The first fault in the fields of an input object.
fn misfit_field(
    registry: &Registry,
    rules: &dyn SchemaRules,
    named: &str,
    input_fields: &IndexMap<String, MetaInputValue>,
    given: &IndexMap<Name, Input>,
    place: &str,
) -> Option<String> {
    if let Some(unknown) = given
        .keys()
        .find(|name| !input_fields.contains_key(name.as_str()))
    {
        return Some(format!(
            "`{place}` has a field `{unknown}`, which `{named}` does not have."
        ));
    }
    input_fields.values().find_map(|field| {
        let place = format!("{place}.{}", field.name);
        match given.get(field.name.as_str()) {
            Some(value) => misfit(registry, rules, &field.ty, value, &place),
            None if field.default_value.is_some() => None,
            None => MetaTypeName::create(&field.ty)
                .is_non_null()
                .then(|| format!("`{place}` of type `{}` is missing.", field.ty)),
        }
    })
}
