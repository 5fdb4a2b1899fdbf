//! A schema in the form that the rules and the comparison need: types by name, and each part with its coordinate
//! (`Webhook.deliveries(first:)`, `WebhookState.BANNED`, `@skip(if:)`).

use std::collections::BTreeMap;

use async_graphql::Positioned;
use async_graphql::parser::parse_schema;
use async_graphql::parser::types::{
    BaseType, ConstDirective, DirectiveDefinition, FieldDefinition, InputValueDefinition, SchemaDefinition,
    Type, TypeDefinition, TypeKind, TypeSystemDefinition,
};

/// A parsed schema.
pub struct Document {
    pub types: BTreeMap<String, TypeDefinition>,
    pub directives: BTreeMap<String, DirectiveDefinition>,
    pub roots: SchemaDefinition,
}

/// The kind of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Type,
    Field,
    Argument,
    InputField,
    Value,
    Directive,
}

/// A part of the schema with a name and a description.
pub struct Part<'a> {
    pub at: String,
    pub kind: Kind,
    pub name: &'a str,
    pub description: Option<&'a str>,
    /// For a field, an argument and a field of an input.
    pub ty: Option<&'a Type>,
    pub directives: &'a [Positioned<ConstDirective>],
}

impl Document {
    pub fn read(sdl: &str) -> Self {
        let (mut types, mut directives, mut roots) = (BTreeMap::new(), BTreeMap::new(), None);
        for definition in parse_schema(sdl).expect("a schema").definitions {
            match definition {
                TypeSystemDefinition::Type(ty) => {
                    types.insert(ty.node.name.node.to_string(), ty.node);
                }
                TypeSystemDefinition::Directive(directive) => {
                    directives.insert(directive.node.name.node.to_string(), directive.node);
                }
                TypeSystemDefinition::Schema(schema) => roots = Some(schema.node),
            }
        }
        Self {
            types,
            directives,
            roots: roots.expect("a schema names its roots"),
        }
    }

    /// All parts; those of one type are adjacent.
    pub fn parts(&self) -> Vec<Part<'_>> {
        let mut parts = Vec::new();
        for (name, ty) in &self.types {
            parts.push(part(
                name.clone(),
                Kind::Type,
                name,
                &ty.description,
                None,
                &ty.directives,
            ));
            for Positioned { node: field, .. } in fields(&ty.kind) {
                let at = format!("{name}.{}", field.name.node);
                let type_of = Some(&field.ty.node);
                let arguments = inputs(&field.arguments, Kind::Argument, |argument| {
                    format!("{at}({argument}:)")
                });
                parts.push(part(
                    at.clone(),
                    Kind::Field,
                    &field.name.node,
                    &field.description,
                    type_of,
                    &field.directives,
                ));
                parts.extend(arguments);
            }
            match &ty.kind {
                TypeKind::InputObject(input) => {
                    parts.extend(inputs(&input.fields, Kind::InputField, |field| {
                        format!("{name}.{field}")
                    }));
                }
                TypeKind::Enum(values) => {
                    parts.extend(values.values.iter().map(|Positioned { node: value, .. }| {
                        let at = format!("{name}.{}", value.value.node);
                        part(
                            at,
                            Kind::Value,
                            &value.value.node,
                            &value.description,
                            None,
                            &value.directives,
                        )
                    }))
                }
                _ => {}
            }
        }
        for (name, directive) in &self.directives {
            let at = format!("@{name}");
            let arguments = inputs(&directive.arguments, Kind::Argument, |argument| {
                format!("{at}({argument}:)")
            });
            parts.push(part(
                at.clone(),
                Kind::Directive,
                name,
                &directive.description,
                None,
                &[],
            ));
            parts.extend(arguments);
        }
        parts
    }

    /// The coordinates of the parts that break a rule.
    pub fn breaches(&self, breaks: impl Fn(&Part) -> bool) -> Vec<String> {
        let parts = self.parts().into_iter();
        parts.filter(|part| breaks(part)).map(|part| part.at).collect()
    }

    /// The fields of a type, if it exists and has fields.
    pub fn fields_of(&self, ty: &str) -> &[Positioned<FieldDefinition>] {
        self.types.get(ty).map_or(&[], |ty| fields(&ty.kind))
    }
}

fn part<'a>(
    at: String,
    kind: Kind,
    name: &'a str,
    description: &'a Option<Positioned<String>>,
    ty: Option<&'a Type>,
    directives: &'a [Positioned<ConstDirective>],
) -> Part<'a> {
    Part {
        at,
        kind,
        name,
        description: description.as_ref().map(|text| text.node.as_str()),
        ty,
        directives,
    }
}

fn inputs(
    inputs: &[Positioned<InputValueDefinition>],
    kind: Kind,
    coordinate: impl Fn(&str) -> String,
) -> Vec<Part<'_>> {
    let inputs = inputs.iter().map(|input| &input.node);
    inputs
        .map(|input| {
            let (name, ty) = (input.name.node.as_str(), Some(&input.ty.node));
            part(
                coordinate(name),
                kind,
                name,
                &input.description,
                ty,
                &input.directives,
            )
        })
        .collect()
}

/// The fields of an object or interface; other types have none that can be selected.
pub fn fields(kind: &TypeKind) -> &[Positioned<FieldDefinition>] {
    match kind {
        TypeKind::Object(object) => &object.fields,
        TypeKind::Interface(interface) => &interface.fields,
        _ => &[],
    }
}

/// The interfaces that an object or interface implements.
pub fn implements(kind: &TypeKind) -> &[Positioned<async_graphql::Name>] {
    match kind {
        TypeKind::Object(object) => &object.implements,
        TypeKind::Interface(interface) => &interface.implements,
        _ => &[],
    }
}

/// The type inside all lists.
pub fn innermost(ty: &Type) -> &str {
    match &ty.base {
        BaseType::Named(name) => name,
        BaseType::List(elements) => innermost(elements),
    }
}

/// The type of a list's elements, if the type is a list.
pub fn elements(ty: &Type) -> Option<&Type> {
    match &ty.base {
        BaseType::Named(_) => None,
        BaseType::List(elements) => Some(elements),
    }
}

/// The words of a name, in lower case: `lastHttpStatus`, `LAST_HTTP_STATUS` and `LastHttpStatus` have the same words.
pub fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut before = '_';
    for c in name.chars() {
        let begins = c != '_' && (before == '_' || (c.is_ascii_uppercase() && !before.is_ascii_uppercase()));
        if begins {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| c != '_') {
            word.push(c.to_ascii_lowercase());
        }
        before = c;
    }
    words
}
