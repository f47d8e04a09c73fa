# Completion of tokenworks for bash. The flags are read from `tokenworks VERB --help`, so they are always those of
# the installed program; model names come from `tokenworks list`.
# shellcheck shell=bash

_tokenworks_verbs="serve run pull list rm inspect tokenize info bench train eval quantize plan"

# Prints the flags that the help of a verb (or of the program) names.
_tokenworks_flags() {
  local program=$1
  shift
  "$program" "$@" --help 2>/dev/null | grep -oE -e '(^|[ ,[])--[a-z][a-z0-9-]*' | grep -oE -e '--[a-z][a-z0-9-]*' | sort -u
}

_tokenworks_models() { "$1" list 2>/dev/null | awk '$3 == "MB" {print $1}'; }

_tokenworks_values() {
  case $1 in
    --isa) echo "ref avx2 avx512 amx" ;;
    --precision) echo "auto bf16 fp32" ;;
    --schedule-kind) echo "cosine linear wsd constant" ;;
    --tokenizer-kind) echo "bpe bytes characters file" ;;
    --speculate) echo "lookup off" ;;
    --kv-type) echo "f16 bf16 int8 f32" ;;
    --log-format) echo "text json" ;;
    --log-level) echo "trace debug info warn error off" ;;
    --topology) echo "fat-tree rail torus dragonfly" ;;
    --host) echo "127.0.0.1 0.0.0.0 ::1 ::" ;;
  esac
}

_tokenworks() {
  local program=${COMP_WORDS[0]} word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
  local verb=${COMP_WORDS[1]:-} values
  COMPREPLY=()
  if ((COMP_CWORD == 1)) && [[ $word != -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$_tokenworks_verbs" -- "$word")
    return
  fi
  if ((COMP_CWORD == 2)) && [[ $verb == plan && $word != -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$("$program" plan --help 2>/dev/null | awk '/^  [a-z]+  / {print $1}')" -- "$word")
    return
  fi
  values=$(_tokenworks_values "$previous")
  if [[ -n $values ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$values" -- "$word")
  elif [[ $word == -* ]]; then
    local path=("$verb")
    if ((COMP_CWORD == 1)); then path=(); fi
    if ((COMP_CWORD > 2)) && [[ $verb == plan ]]; then path=(plan "${COMP_WORDS[2]}"); fi
    mapfile -t COMPREPLY < <(compgen -W "$(_tokenworks_flags "$program" "${path[@]}")" -- "$word")
  elif [[ $verb == pull && $previous == pull && $word != [./]* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "hf: pip: http:// https://" -- "$word")
  else
    mapfile -t COMPREPLY < <(compgen -W "$(_tokenworks_models "$program")" -- "$word" && true; compgen -f -- "$word")
  fi
}

complete -o filenames -o bashdefault -F _tokenworks tokenworks
