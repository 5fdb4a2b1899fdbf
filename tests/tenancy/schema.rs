//! The published schema, and the queries that it allows: the shortest path to a field, and everything that can be
//! selected.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use async_graphql_parser::types::{
    BaseType, FieldDefinition, InputValueDefinition, Type, TypeKind, TypeSystemDefinition,
};
use async_graphql_parser::{Positioned, parse_schema};

/// The committed schema.
pub const SDL: &str = include_str!("../../schema.graphql");

/// An argument, or a field of an input.
pub struct Argument {
    pub name: String,
    /// Its type, without list and null.
    pub kind: String,
    pub required: bool,
}

pub struct Field {
    pub name: String,
    /// Its type, without list and null.
    pub kind: String,
    pub arguments: Vec<Argument>,
}

#[derive(Default)]
pub struct Schema {
    /// The fields of objects and interfaces.
    pub types: BTreeMap<String, Vec<Field>>,
    /// The objects of each interface.
    pub objects_of: BTreeMap<String, Vec<String>>,
    pub inputs: BTreeMap<String, Vec<Argument>>,
    /// The values of required arguments, for fields below the roots.
    pub required: BTreeMap<&'static str, &'static str>,
}

impl Schema {
    /// Reads a schema. `required` has the required arguments of fields below the roots, by `Type.field`.
    pub fn read(sdl: &str, required: &[(&'static str, &'static str)]) -> Self {
        let document = parse_schema(sdl).expect("it is a schema");
        let mut schema = Self {
            required: required.iter().copied().collect(),
            ..Self::default()
        };
        for definition in document.definitions {
            let TypeSystemDefinition::Type(definition) = definition else {
                continue;
            };
            let (name, kind) = (definition.node.name.to_string(), definition.node.kind);
            match kind {
                TypeKind::Object(object) => {
                    for interface in &object.implements {
                        let objects = schema.objects_of.entry(interface.node.to_string());
                        objects.or_default().push(name.clone());
                    }
                    schema.types.insert(name, fields(&object.fields));
                }
                TypeKind::Interface(interface) => {
                    schema.types.insert(name, fields(&interface.fields));
                }
                TypeKind::InputObject(input) => {
                    schema.inputs.insert(name, arguments(&input.fields));
                }
                TypeKind::Scalar | TypeKind::Enum(_) => {}
                TypeKind::Union(_) => panic!("{name}: the walk does not know unions yet"),
            }
        }
        schema
    }

    pub fn fields(&self, of: &str) -> &[Field] {
        self.types.get(of).map_or(&[], Vec::as_slice)
    }

    pub fn field(&self, of: &str, name: &str) -> Option<&Field> {
        self.fields(of).iter().find(|field| field.name == name)
    }

    /// The names of arguments with these types, also in the inputs of other arguments.
    pub fn naming(&self, arguments: &[Argument], kinds: &[&str]) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for argument in arguments {
            match self.inputs.get(&argument.kind) {
                Some(fields) => names.extend(self.naming(fields, kinds)),
                None if kinds.contains(&argument.kind.as_str()) => {
                    names.insert(argument.name.clone());
                }
                None => {}
            }
        }
        names
    }

    /// A selection of all fields of a type, and of the types that it leads to, up to this number of levels. Fields with
    /// required arguments are left out: they cost too much in a list, and have queries of their own.
    pub fn everything(&self, of: &str, steps: usize) -> String {
        let mut parts = Vec::new();
        let free = |field: &&Field| !field.arguments.iter().any(|argument| argument.required);
        for field in self.fields(of).iter().filter(free) {
            let below = self.types.contains_key(&field.kind);
            match (below, steps) {
                (false, _) => parts.push(self.call(of, field)),
                (true, 0) => {}
                (true, _) => {
                    let selection = self.everything(&field.kind, steps - 1);
                    if !selection.is_empty() {
                        parts.push(format!("{} {{ {selection} }}", self.call(of, field)));
                    }
                }
            }
        }
        for object in self.objects_of.get(of).into_iter().flatten() {
            // With different aliases, because objects differ in which fields may be null.
            let renamed: Vec<String> = self
                .fields(object)
                .iter()
                .filter(|field| !self.types.contains_key(&field.kind))
                .map(|field| format!("{object}_{}: {}", field.name, self.call(object, field)))
                .collect();
            parts.push(format!("... on {object} {{ {} }}", renamed.join(" ")));
        }
        parts.join(" ")
    }

    /// The smallest selection of a field of this type.
    fn least(&self, of: &str) -> String {
        if !self.types.contains_key(of) {
            return String::new();
        }
        let fields = self.fields(of);
        let plain = fields.iter().find(|field| !self.types.contains_key(&field.kind));
        match (plain, fields.first()) {
            (Some(field), _) => format!(" {{ {} }}", self.call(of, field)),
            (None, Some(field)) => {
                format!(" {{ {}{} }}", self.call(of, field), self.least(&field.kind))
            }
            (None, None) => String::new(),
        }
    }

    fn call(&self, of: &str, field: &Field) -> String {
        let coordinate = format!("{of}.{}", field.name);
        match self.required.get(coordinate.as_str()) {
            Some(arguments) => format!("{}({arguments})", field.name),
            None => field.name.clone(),
        }
    }

    /// The shortest path from `start` to each reachable type.
    pub fn ways(&self, start: &str) -> BTreeMap<String, Vec<Step>> {
        let mut ways = BTreeMap::from([(start.to_owned(), Vec::new())]);
        let mut waiting = VecDeque::from([start.to_owned()]);
        while let Some(at) = waiting.pop_front() {
            let mut next: Vec<(String, Step)> = Vec::new();
            for field in self
                .fields(&at)
                .iter()
                .filter(|field| self.types.contains_key(&field.kind))
            {
                next.push((field.kind.clone(), Step::Field(self.call(&at, field))));
            }
            for object in self.objects_of.get(&at).into_iter().flatten() {
                next.push((object.clone(), Step::Narrow(object.clone())));
            }
            for (kind, step) in next {
                if !ways.contains_key(&kind) {
                    let mut way = ways[&at].clone();
                    way.push(step);
                    ways.insert(kind.clone(), way);
                    waiting.push_back(kind);
                }
            }
        }
        ways
    }

    /// A query for one field: a call of the root field `root`, the path `way` to its type, and the smallest selection.
    pub fn question(&self, root: &str, way: &[Step], of: &str, field: &Field) -> String {
        let mut question = format!("{}{}", self.call(of, field), self.least(&field.kind));
        for step in way.iter().rev() {
            question = match step {
                Step::Field(call) => format!("{call} {{ {question} }}"),
                Step::Narrow(object) => format!("... on {object} {{ {question} }}"),
            };
        }
        format!("{root} {{ {question} }}")
    }
}

/// A step of a path.
#[derive(Debug, Clone)]
pub enum Step {
    Field(String),
    Narrow(String),
}

fn fields(definitions: &[Positioned<FieldDefinition>]) -> Vec<Field> {
    let field = |definition: &Positioned<FieldDefinition>| Field {
        name: definition.node.name.to_string(),
        kind: named(&definition.node.ty.node),
        arguments: arguments(&definition.node.arguments),
    };
    definitions.iter().map(field).collect()
}

fn arguments(definitions: &[Positioned<InputValueDefinition>]) -> Vec<Argument> {
    let argument = |definition: &Positioned<InputValueDefinition>| Argument {
        name: definition.node.name.to_string(),
        kind: named(&definition.node.ty.node),
        required: !definition.node.ty.node.nullable && definition.node.default_value.is_none(),
    };
    definitions.iter().map(argument).collect()
}

fn named(of: &Type) -> String {
    match &of.base {
        BaseType::Named(name) => name.to_string(),
        BaseType::List(inner) => named(inner),
    }
}
