/** completion: the scripts that let bash, zsh and fish ask kvcli (shell-completion.ts). */
import type { Command } from './command.ts'
import { ExitCode } from './exit-code.ts'
import { COMPLETE_WORD } from './shell-words.ts'
import { unknownChoice } from './unknown-choice.ts'

/** Works in bash 3.2, too, which macOS has: no mapfile; and without compopt no files. */
const BASH = `# Completion of kvcli for bash. In ~/.bashrc: eval "$(kvcli completion bash)"
_kvcli() {
  local word kind=
  COMPREPLY=()
  while IFS= read -r word; do
    if [[ -z $kind ]]; then kind=$word; else COMPREPLY+=("$word"); fi
  done < <("$1" ${COMPLETE_WORD} bash "\${COMP_LINE:0:COMP_POINT}" "$COMP_WORDBREAKS" 2>/dev/null)
  if [[ $kind == files ]]; then compopt -o default 2>/dev/null; fi
}
complete -F _kvcli kvcli
`

const ZSH = `#compdef kvcli
# Completion of kvcli for zsh. In ~/.zshrc, behind compinit: eval "$(kvcli completion zsh)"
_kvcli() {
  local -a before answer
  before=("\${(@Q)words[2,CURRENT-1]}")
  before+=("\${(Q)PREFIX}")
  answer=("\${(@f)$("\${words[1]}" ${COMPLETE_WORD} zsh "\${before[@]}" 2>/dev/null)}")
  if [[ \${answer[1]} == files ]]; then
    _files
  elif (( \${#answer} > 1 )); then
    compadd -- "\${(@)answer[2,-1]}"
  fi
}
compdef _kvcli kvcli
`

const FISH = `# Completion of kvcli for fish. In config.fish: kvcli completion fish | source
function __kvcli_complete
    set -l before (commandline -opc)
    set -l program $before[1]
    set -e before[1]
    set -l current (commandline -ct)
    set -l answer ($program ${COMPLETE_WORD} fish $before "$current" 2>/dev/null)
    if test "$answer[1]" = files
        __fish_complete_path "$current"
        return
    end
    set -e answer[1]
    printf '%s\\n' $answer
end
complete -c kvcli -f -a '(__kvcli_complete)'
`

const SCRIPTS: ReadonlyMap<string, string> = new Map([
  ['bash', BASH],
  ['zsh', ZSH],
  ['fish', FISH],
])
const SHELLS = [...SCRIPTS.keys()]

export const completionCommand: Command = {
  name: 'completion',
  summary: 'print a script that lets your shell complete what you type',
  details:
    'Tab then completes commands, options and their values, actions, contexts, files, and keys, ' +
    'which it asks the server for that the line would go to: within a second, or not at all.',
  args: [{ name: 'shell', description: SHELLS.join(', '), choices: SHELLS }],
  options: [],
  examples: [
    { line: 'eval "$(kvcli completion bash)"', says: 'in ~/.bashrc' },
    { line: 'eval "$(kvcli completion zsh)"', says: 'in ~/.zshrc, behind compinit' },
    { line: 'kvcli completion fish | source', says: 'in ~/.config/fish/config.fish' },
  ],
  needsServer: false,
  async run({ args, output }) {
    const [shell = ''] = args
    const script = SCRIPTS.get(shell)
    if (script === undefined) {
      throw unknownChoice('completion', shell, SHELLS)
    }
    await output.print({ shell, script }, () => script.trimEnd())
    return ExitCode.ok
  },
}
