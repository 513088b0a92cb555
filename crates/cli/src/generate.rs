//! A command for each resource: its verbs, and their options named after the fields on the wire.

use crate::{
    catalog::{self, Action, Field, Resource, Type},
    identity, image, keypair, server,
};
use clap::{Arg, ArgAction, Command, builder::PossibleValuesParser};

/// Options every command has; fields of these names are set with `--set`.
const TAKEN: [&str; 8] = ["help", "output", "set", "field", "service", "version", "profile", "wait"];

/// The command of a resource. Its verbs are made when it is looked into, so that a start of the platform does not pay for them.
pub fn resource(resource: &Resource) -> Command {
    let about = if resource.doc.is_empty() { format!("Work with {}.", resource.plural) } else { resource.doc.clone() };
    let mut command = Command::new(resource.word()).about(about).arg_required_else_help(true).disable_help_subcommand(true);
    if let Some(short) = resource.word().strip_prefix("server").filter(|s| *s == "sku") {
        command = command.visible_alias(short.to_string());
    }
    command.defer(|command| {
        let word = command.get_name().to_string();
        command.subcommands(verbs_of(&word))
    })
}

/// What can be done with the resource of this word; nothing when there is none.
pub fn verbs_of(word: &str) -> Vec<Command> {
    catalog::resource(word).map(verbs).unwrap_or_default().into_iter().map(literal).collect()
}

/// The word after an option that wants one is its value, whatever it begins with, as other programs have it: passwords, secrets and descriptions
/// may begin with a dash, and so may negative numbers.
pub fn literal(command: Command) -> Command {
    let wants_one = |arg: &Arg| {
        !arg.is_positional()
            && arg.get_action().takes_values()
            && arg.get_num_args().is_none_or(|n| n.min_values() == 1 && n.max_values() == 1)
    };
    command.mut_args(|arg| if wants_one(&arg) { arg.allow_hyphen_values(true) } else { arg }).mut_subcommands(literal)
}

fn verbs(resource: &Resource) -> Vec<Command> {
    let mut verbs = vec![list(resource), show(resource)];
    if let Some(fields) = &resource.create {
        verbs.push(match resource.name.as_str() {
            "server" => server::create_command(fields),
            "image" => image::create_command(fields),
            "keypair" => keypair::create_command(fields),
            _ => create(resource, fields),
        });
    }
    if let Some(fields) = &resource.update {
        verbs.push(fielded(leaf("update", "Change the given fields.").arg(id(false)), fields, false));
    }
    if resource.delete {
        verbs.push(delete());
    }
    // The console command asks for it, and opens what it is answered.
    let own = |action: &Action| resource.name == "server" && action.name == "console";
    verbs.extend(resource.actions.iter().filter(|a| !own(a)).map(|action| perform(action, &resource.actions)));
    for (name, doc) in &resource.specs {
        // Some commands of our own are better at it.
        if resource.name == "server" && name == "vnc" {
            continue;
        }
        // What can be set and read under one name.
        let taken = verbs.iter().any(|v| v.get_name() == name);
        let verb = if taken { format!("show-{name}") } else { name.clone() };
        verbs.push(leaf(&verb, doc).arg(id(false)));
    }
    match resource.name.as_str() {
        "server" => verbs.extend(server::commands()),
        "image" => verbs.push(image::download_command()),
        "event" => verbs.push(identity::export_command()),
        _ => {}
    }
    verbs.extend(identity::nested_commands(&resource.name));
    if resource.services.len() > 1 {
        let words: Vec<&str> = resource.services.iter().map(|s| s.word()).collect();
        let of = Arg::new("service")
            .long("service")
            .value_name("SERVICE")
            .default_value(words[0])
            .value_parser(PossibleValuesParser::new(words.clone()))
            .help("Service whose rows are meant");
        verbs = verbs.into_iter().map(|v| v.arg(of.clone())).collect();
    }
    verbs
}

/// A command with the options all have.
pub fn leaf(name: &str, about: &str) -> Command {
    Command::new(name.to_string()).about(about.to_string()).arg(output())
}

pub fn output() -> Arg {
    Arg::new("output")
        .short('o')
        .long("output")
        .value_name("FORMAT")
        .env("CLIMC_OUTPUT_FORMAT")
        .hide_env(true)
        .default_value("table")
        .value_parser(["table", "json", "yaml"])
        .help("How to print")
}

/// As whom; for every command.
pub fn profile() -> Arg {
    Arg::new("profile").long("profile").value_name("NAME").global(true).help("Saved login to use, before the environment and WOLKE_PROFILE")
}

/// The objects meant: one, or several that are taken one after the other.
pub fn id(many: bool) -> Arg {
    let arg = Arg::new("id").required(true);
    if many {
        arg.value_name("ID_OR_NAME").num_args(1..).help("Id or name; several are taken one after the other")
    } else {
        arg.value_name("ID_OR_NAME").help("Id or name")
    }
}

fn columns() -> Arg {
    Arg::new("field").long("field").value_name("FIELD").action(ArgAction::Append).value_delimiter(',').help("Only this field (repeatable)")
}

fn list(resource: &Resource) -> Command {
    let option = |name: &'static str, value: &'static str, help: &'static str| Arg::new(name).long(name).value_name(value).help(help);
    let mut command = leaf("list", &format!("List {}.", resource.plural))
        .arg(option("limit", "N", "Rows at most; 0: all").default_value("50").value_parser(clap::value_parser!(u64)))
        .arg(option("offset", "N", "Rows to pass over").value_parser(clap::value_parser!(u64)))
        .arg(option("search", "TEXT", "Only rows with this text in a name or the like").action(ArgAction::Append))
        .arg(
            option("filter", "FIELD.OP(ARGS)", "Only rows for which it holds, as in status.in(ready,running) or name.contains(web)")
                .action(ArgAction::Append),
        )
        .arg(option("scope", "SCOPE", "Whose rows: system, domain, project or user; left out: the kind's own breadth"))
        .arg(option("order-by", "FIELD", "Field to sort by").action(ArgAction::Append))
        .arg(option("order", "ORDER", "asc or desc").value_parser(["asc", "desc"]))
        .arg(
            option("details", "BOOL", "Whether to fetch computed fields")
                .num_args(0..=1)
                .default_missing_value("true")
                .value_parser(["true", "false"]),
        )
        .arg(option("tag", "KEY=VALUE", "Only rows with this tag").action(ArgAction::Append))
        .arg(option("pending-delete", "WHICH", "true: rows of the recycle bin; all: those too"))
        .arg(Arg::new("system").long("system").action(ArgAction::SetTrue).help("Also what the platform made for its own use"))
        .arg(columns());
    for field in &resource.filters {
        let long = field.long();
        if long == "project" || LIST_LONGS.contains(&long.as_str()) || TAKEN.contains(&long.as_str()) {
            continue;
        }
        command = command.arg(
            Arg::new(format!("f:{}", field.name))
                .long(long)
                .value_name(value_name(field.kind))
                .action(ArgAction::Append)
                .help(one_line(&field.doc))
                .help_heading("Only rows with"),
        );
    }
    command.arg(
        Arg::new("f:project").long("project").value_name("TEXT").help("Project that owns it, by id or name").help_heading("Only rows with"),
    )
}

const LIST_LONGS: [&str; 11] =
    ["system", "limit", "offset", "search", "filter", "scope", "order-by", "order", "details", "tag", "pending-delete"];

fn show(resource: &Resource) -> Command {
    leaf("show", &format!("Show one {}.", resource.name)).arg(id(false)).arg(columns())
}

fn create(resource: &Resource, fields: &[Field]) -> Command {
    let mut command = leaf("create", &format!("Make one {}.", resource.name));
    if let Some(name) = fields.iter().find(|f| f.name == "name") {
        command = command.arg(Arg::new("f:name").value_name("NAME").required(true).help(one_line(&name.doc)));
    }
    let rest: Vec<Field> = fields.iter().filter(|f| f.name != "name").cloned().collect();
    fielded(command, &rest, true)
}

fn delete() -> Command {
    let flag = |name: &'static str, help: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    leaf("delete", "Delete.")
        .arg(id(true))
        .arg(flag("override-pending-delete", "At once, past the recycle bin"))
        .arg(flag("purge", "Also when what it stands for is out of reach"))
}

fn perform(action: &Action, all: &[Action]) -> Command {
    let command = leaf(&action.name, &action.doc).arg(id(true));
    // The tag actions take any keys.
    if action.name.ends_with("metadata") && action.inputs.is_empty() {
        return leaf(&action.name, &action.doc)
            .arg(id(false))
            .arg(Arg::new("pair").value_name("KEY=VALUE").num_args(1..).required(true).help("Pairs; a value of none removes its key"));
    }
    let _ = all;
    fielded(command, &action.inputs, true)
}

/// Adds an option per field, and `--set` for what is not documented as a field.
pub fn fielded(mut command: Command, fields: &[Field], demand: bool) -> Command {
    for field in fields {
        if TAKEN.contains(&field.long().as_str()) || command.get_arguments().any(|a| a.get_long() == Some(&field.long())) {
            continue;
        }
        let mut arg = option(field, demand);
        if let Some(short) = short_name(field, fields, &command) {
            arg = arg.visible_alias(short);
        }
        command = command.arg(arg);
    }
    command.arg(
        Arg::new("set")
            .long("set")
            .value_name("FIELD=VALUE")
            .action(ArgAction::Append)
            .help("Any further field; dots nest, a value in JSON is taken as such, @FILE reads it"),
    )
}

/// What people say instead of a field's whole name: `--wire` takes a name as well as an id, that a network's gateway is its guests' goes without
/// saying, and so does that a disk's size is the disk's. Only where it could mean nothing else.
fn short_name(field: &Field, fields: &[Field], command: &Command) -> Option<String> {
    fn short(name: &str) -> Option<&str> {
        name.strip_suffix("_id").or_else(|| name.strip_prefix("guest_")).or_else(|| name.strip_prefix("disk_"))
    }
    let name = short(&field.name)?;
    let long = name.replace('_', "-");
    let taken = TAKEN.contains(&long.as_str())
        || fields.iter().any(|f| f.name == name)
        || fields.iter().filter(|f| short(&f.name) == Some(name)).count() > 1
        || command.get_arguments().any(|a| a.get_long() == Some(&long));
    (!taken).then_some(long)
}

fn option(field: &Field, demand: bool) -> Arg {
    let mut help = one_line(&field.doc);
    if !field.default.is_empty() {
        help = format!("{help} [default: {}]", field.default);
    }
    if field.kind == Type::Secret {
        help = format!("{help} (- asks for it or reads a line, @FILE reads the file)");
    }
    if demand && field.required {
        help = format!("{help} (required)");
    }
    let arg = Arg::new(format!("f:{}", field.name))
        .long(field.long())
        .value_name(value_name(field.kind))
        .help(help)
        .required(demand && field.required);
    match field.kind {
        Type::Bool => arg.num_args(0..=1).require_equals(true).default_missing_value("true").value_parser(["true", "false"]),
        _ => arg,
    }
}

fn value_name(kind: Type) -> &'static str {
    match kind {
        Type::Text => "TEXT",
        Type::Secret => "TEXT|@FILE|-",
        Type::Int => "N",
        Type::Float => "X",
        Type::Bool => "BOOL",
        Type::Any => "JSON",
    }
}

/// Help without the marks of its source.
pub fn one_line(doc: &str) -> String {
    doc.replace('`', "").split_whitespace().collect::<Vec<_>>().join(" ").trim_end_matches('.').to_string()
}
