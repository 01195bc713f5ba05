/** `completion`: scripts for shells, made from the commands themselves, so that none is forgotten. */
import { Argument, type Command } from "commander";

import { act } from "./session.ts";
import { calledAs, type Terminal } from "./terminal.ts";

const SHELLS = ["bash", "zsh", "fish"] as const;

/** What may follow a command path such as `keys create`. */
type Node = {
  readonly path: string;
  readonly subcommands: readonly string[];
  readonly words: readonly string[];
  /** Choices by option, `--unit` → usd tokens … */
  readonly choices: readonly (readonly [string, readonly string[]])[];
};

export function addCompletion(program: Command, terminal: Terminal): void {
  const called = calledAs(terminal.env);
  const completion = program
    .command("completion")
    .description(
      `print a completion script, for npx tollgate too. Load it with source <(${called} completion bash), ` +
        `in zsh with source <(${called} completion zsh), in fish with ${called} completion fish | source`,
    )
    .addArgument(new Argument("<shell>").choices(SHELLS));
  act(completion, terminal, async (session) => {
    const nodes = nodesOf(program, "");
    terminal.out(
      session.argument(0) === "fish" ? fish(nodes) : bashAndZsh(nodes, session.argument(0)),
    );
  });
}

function nodesOf(command: Command, path: string): readonly Node[] {
  const options = command.options.filter(({ hidden }) => !hidden);
  const subcommands = command.commands.map((child) => child.name());
  const argumentChoices = command.registeredArguments.flatMap(({ argChoices }) => argChoices ?? []);
  const flags = options.flatMap(({ long }) => (long === undefined ? [] : [long]));
  const node: Node = {
    path,
    subcommands,
    words: [...subcommands, ...argumentChoices, ...flags, "--help"],
    choices: options.flatMap(({ long, argChoices }) =>
      long === undefined || argChoices === undefined ? [] : [[long, argChoices] as const],
    ),
  };
  const children = command.commands.flatMap((child) =>
    nodesOf(child, path === "" ? child.name() : `${path} ${child.name()}`),
  );
  return [node, ...children];
}

/** Walks the words typed so far to the deepest command they name, then offers what may follow it. */
function bashAndZsh(nodes: readonly Node[], shell: string): string {
  const global = nodes[0]?.words.filter((word) => word.startsWith("--")) ?? [];
  const steps = nodes.filter(({ path }) => path !== "").map(({ path }) => `"${path}"`);
  const lines = nodes.map(({ path, words }) => {
    const all = path === "" ? words : [...new Set([...words, ...global])];
    return `    "${path}") words="${all.join(" ")}" ;;`;
  });
  const choices = nodes.flatMap((node) =>
    node.choices.map(
      ([flag, values]) => `    "${node.path} ${flag}") words="${values.join(" ")}" ;;`,
    ),
  );
  // Not called `path`: in zsh that variable is PATH.
  const script = [
    "_tollgate() {",
    '  local at="" word words="" current="${COMP_WORDS[COMP_CWORD]}"',
    // A length that begins with a letter would be a modifier to zsh.
    '  for word in "${COMP_WORDS[@]:1:$((COMP_CWORD-1))}"; do',
    '    case "${at:+$at }$word" in',
    `      ${steps.join("|")}) at="\${at:+$at }$word" ;;`,
    "    esac",
    "  done",
    '  case "$at" in',
    ...lines,
    "  esac",
    '  case "$at ${COMP_WORDS[COMP_CWORD-1]}" in',
    ...choices,
    "  esac",
    '  COMPREPLY=($(compgen -W "$words" -- "$current"))',
    "}",
    "complete -o default -F _tollgate tollgate",
    "_tollgate_npx() {",
    '  if [ "$COMP_CWORD" -gt 1 ] && [ "${COMP_WORDS[1]}" = tollgate ]; then',
    '    COMP_WORDS=("${COMP_WORDS[@]:1}")',
    "    COMP_CWORD=$((COMP_CWORD-1))",
    "    _tollgate",
    '  elif [ "$COMP_CWORD" -eq 1 ]; then',
    '    COMPREPLY=($(compgen -W "tollgate" -- "${COMP_WORDS[1]}"))',
    "  fi",
    "}",
    // Another completion of npx is somebody's own, and stays.
    `${isTaken(shell)} || complete -o default -F _tollgate_npx npx`,
  ];
  const head = shell === "zsh" ? ["autoload -U +X bashcompinit && bashcompinit"] : [];
  return `${[...head, ...script].join("\n")}\n`;
}

function isTaken(shell: string): string {
  return shell === "zsh" ? '[ -n "${_comps[npx]}" ]' : "complete -p npx >/dev/null 2>&1";
}

function fish(nodes: readonly Node[]): string {
  const steps = nodes.filter(({ path }) => path !== "").map(({ path }) => `'${path}'`);
  const lines = nodes.flatMap((node) => {
    const at = `-n 'test (__tollgate_path) = "${node.path}"'`;
    // The program's own options hold behind every command.
    const flagsAt = node.path === "" ? "" : `${at} `;
    const words = node.words.filter((word) => !word.startsWith("--"));
    const flags = node.words.filter((word) => word.startsWith("--"));
    return [
      ...(words.length === 0 ? [] : [`complete -c tollgate -f ${at} -a '${words.join(" ")}'`]),
      ...flags.map((flag) => {
        const values = node.choices.find(([name]) => name === flag)?.[1];
        const takes = values === undefined ? "" : ` -x -a '${values.join(" ")}'`;
        return `complete -c tollgate ${flagsAt}-l ${flag.slice(2)}${takes}`;
      }),
    ];
  });
  return `${[
    "function __tollgate_path",
    "  set -l at ''",
    "  for word in (commandline -opc)[2..]",
    '    set -l next (string trim -- "$at $word")',
    `    if contains -- "$next" ${steps.join(" ")}`,
    '      set at "$next"',
    "    end",
    "  end",
    '  echo "$at"',
    "end",
    ...lines,
    // Behind npx it is completed as the same line without npx.
    "complete -c npx -n 'string match -qr \"^\\s*npx\\s+tollgate\\s\" -- (commandline -cp)' -f" +
      ' -a \'(complete -C (string replace -r "^\\s*npx\\s+" "" -- (commandline -cp)))\'',
  ].join("\n")}\n`;
}
