//! The arguments of a schema: the scalars in them, and values for them.

use std::collections::BTreeMap;

use async_graphql::parser::parse_schema;
use async_graphql::parser::types::{
    BaseType, FieldDefinition, InputValueDefinition, Type, TypeKind, TypeSystemDefinition,
};
use serde_json::{Value, json};

/// All types with arguments, and the types of the arguments.
pub(super) struct Walk {
    /// Objects and their fields.
    pub(super) objects: BTreeMap<String, Vec<FieldDefinition>>,
    inputs: BTreeMap<String, Vec<InputValueDefinition>>,
    enums: BTreeMap<String, String>,
}

/// A place in the arguments of a field that takes a scalar.
pub(super) struct Leaf {
    /// The names that lead to it, from the argument on.
    pub(super) path: Vec<String>,
    pub(super) scalar: String,
}

/// Valid values of existing objects, by the name of the argument that takes them.
pub(super) type Known = BTreeMap<&'static str, Value>;

impl Walk {
    pub(super) fn of(sdl: &str) -> Self {
        let mut walk = Self {
            objects: BTreeMap::new(),
            inputs: BTreeMap::new(),
            enums: BTreeMap::new(),
        };
        for definition in parse_schema(sdl).expect("it is a schema").definitions {
            let TypeSystemDefinition::Type(definition) = definition else {
                continue;
            };
            let name = definition.node.name.to_string();
            match definition.node.kind {
                TypeKind::Object(object) => {
                    let fields = object.fields.into_iter().map(|field| field.node);
                    walk.objects.insert(name, fields.collect());
                }
                TypeKind::InputObject(input) => {
                    let fields = input.fields.into_iter().map(|field| field.node);
                    walk.inputs.insert(name, fields.collect());
                }
                TypeKind::Enum(all) => {
                    walk.enums.insert(name, all.values[0].node.value.to_string());
                }
                TypeKind::Scalar | TypeKind::Interface(_) | TypeKind::Union(_) => {}
            }
        }
        walk
    }

    /// The scalars that an argument takes, at any depth of its inputs.
    pub(super) fn leaves(&self, argument: &InputValueDefinition, above: &[String]) -> Vec<Leaf> {
        let (name, kind) = (argument.name.to_string(), named(&argument.ty.node));
        let path: Vec<String> = above.iter().cloned().chain([name]).collect();
        match self.inputs.get(&kind) {
            Some(fields) => fields
                .iter()
                .flat_map(|field| self.leaves(field, &path))
                .collect(),
            None if self.enums.contains_key(&kind) || kind == "Boolean" => Vec::new(),
            None => vec![Leaf { path, scalar: kind }],
        }
    }

    /// The value of an argument: its required parts, and `given` at `path`. `None` if the argument can be left out.
    pub(super) fn value(
        &self,
        argument: &InputValueDefinition,
        path: Option<&[String]>,
        given: &Value,
        known: &Known,
    ) -> Option<Value> {
        let name = argument.name.to_string();
        let (first, rest) = match path.and_then(<[String]>::split_first) {
            Some((first, rest)) if *first == name => (true, rest),
            _ => (false, [].as_slice()),
        };
        let kind = named(&argument.ty.node);
        if first && rest.is_empty() {
            return Some(given.clone());
        }
        let needed = !argument.ty.node.nullable && argument.default_value.is_none();
        if !first && !needed {
            return None;
        }
        if let Some(fields) = self.inputs.get(&kind) {
            let rest = first.then_some(rest);
            let mut object = serde_json::Map::new();
            for field in fields {
                if let Some(value) = self.value(field, rest, given, known) {
                    object.insert(field.name.to_string(), value);
                }
            }
            // The other fields of a replay are only allowed with a webhook.
            let of_webhook = rest
                .and_then(<[String]>::first)
                .is_some_and(|name| name != "deliveryIds");
            if kind == "ReplayDeliveriesInput" && of_webhook {
                object.entry("webhookId").or_insert(known["webhookId"].clone());
            }
            return Some(object.into());
        }
        let value = known.get(name.as_str()).cloned();
        let of_enum = || self.enums.get(&kind).map(|first| json!(first));
        Some(
            value
                .or_else(of_enum)
                .unwrap_or_else(|| panic!("the walk knows no good value for `{name}`: add one to `known`")),
        )
    }

    /// A selection of a type's fields that need a statement, so that all statements run.
    pub(super) fn selection(&self, kind: &str) -> String {
        let Some(fields) = self.objects.get(kind) else {
            return if matches!(kind, "Node") {
                "{ __typename }".to_owned()
            } else {
                String::new()
            };
        };
        let has = |name: &str| fields.iter().any(|field| field.name.node == name);
        let mut parts = vec!["__typename"];
        if has("totalCount") {
            parts.push("totalCount nodes { __typename }");
        }
        if has("userErrors") {
            parts.push("userErrors { code message path }");
        }
        format!("{{ {} }}", parts.join(" "))
    }
}

/// The name of a type, without lists.
pub(super) fn named(of: &Type) -> String {
    match &of.base {
        BaseType::Named(name) => name.to_string(),
        BaseType::List(inner) => named(inner),
    }
}
