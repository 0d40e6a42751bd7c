//! The tree of commands as people type it: a verb, an option or an answer that is new, gone or
//! renamed is a change that a reviewer sees.

use clap::{ArgAction, Command, CommandFactory};
use expect_test::expect_file;
use muster_controller::cli::Cli;

/// Adds one line for a command and one for each of its own arguments.
fn draw(command: &Command, depth: usize, lines: &mut Vec<String>) {
    let indent = "  ".repeat(depth);
    lines.push(format!("{indent}{}", command.get_name()));
    for argument in command.get_arguments() {
        let name = argument
            .get_long()
            .map_or_else(|| argument.get_id().as_str().to_uppercase(), |long| format!("--{long}"));
        let takes = matches!(argument.get_action(), ArgAction::Set | ArgAction::Append);
        let values: Vec<String> = argument
            .get_possible_values()
            .iter()
            .map(|value| value.get_name().to_owned())
            .collect();
        let defaults: Vec<String> = argument
            .get_default_values()
            .iter()
            .map(|value| value.to_string_lossy().into_owned())
            .collect();
        let mut words = vec![name];
        words.extend(argument.get_short().map(|short| format!("-{short}")));
        words.extend((takes && !values.is_empty()).then(|| values.join("|")));
        words.extend((takes && !defaults.is_empty()).then(|| format!("[{}]", defaults.join(" "))));
        words.extend(argument.is_required_set().then(|| "(required)".to_owned()));
        lines.push(format!("{indent}    {}", words.join(" ")));
    }
    for verb in command.get_subcommands() {
        draw(verb, depth + 1, lines);
    }
}

#[test]
fn the_tree_of_commands_is_the_one_that_was_reviewed() {
    let mut command = Cli::command();
    command.build();
    command.debug_assert();
    let mut lines = Vec::new();
    draw(&Cli::command(), 0, &mut lines);
    expect_file!["golden/commands.txt"].assert_eq(&(lines.join("\n") + "\n"));
}

#[test]
fn every_command_and_argument_says_what_it_is_for() {
    fn silent(command: &Command, path: &str, found: &mut Vec<String>) {
        let path = format!("{path} {}", command.get_name());
        if command.get_about().is_none() {
            found.push(path.clone());
        }
        let arguments = command.get_arguments().filter(|argument| argument.get_help().is_none());
        found.extend(arguments.map(|argument| format!("{path} {}", argument.get_id())));
        command.get_subcommands().for_each(|verb| silent(verb, &path, found));
    }
    let mut found = Vec::new();
    silent(&Cli::command(), "", &mut found);
    assert_eq!(found, Vec::<String>::new());
}
