//! The published schema, and the questions that it allows: the shortest way to a field, and all there is to select.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use async_graphql_parser::types::{
    BaseType, FieldDefinition, InputValueDefinition, Type, TypeKind, TypeSystemDefinition,
};
use async_graphql_parser::{Positioned, parse_schema};

/// The schema as it is committed.
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
    /// Objects and interfaces.
    pub types: BTreeMap<String, Vec<Field>>,
    /// The objects of each interface.
    pub objects_of: BTreeMap<String, Vec<String>>,
    pub inputs: BTreeMap<String, Vec<Argument>>,
    /// What required arguments of fields are set to, where a question passes them.
    pub required: BTreeMap<&'static str, &'static str>,
}

impl Schema {
    /// Reads one. `required` has the required arguments of fields below the roots, by `Type.field`.
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

    /// The names of arguments of these kinds, among these and in the inputs that they take.
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

    /// A selection of everything that a type says itself, and of what it leads to, so many steps far. What needs
    /// arguments is left out: it costs too much in a list, and is asked for alone.
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
            // Under names of their own: objects differ in what may be null.
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

    /// The least that can be selected of a field of this type.
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

    /// From `start`, the shortest way to each type that can be come to.
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

    /// A question for one field: from `root`, a call of a root field, on `way` to its type, and no further than needed.
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

/// A step of a way.
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
