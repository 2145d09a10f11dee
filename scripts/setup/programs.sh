# Kiln's programs, compiled: they start in half the time. What is edited afterwards runs from its source.

ensure_programs() {
  case $(program_file cli) in
    *.ts)
      add "compiling Kiln's programs"
      node src/main/compile.ts >.cache/compile.log 2>&1 9>&- || {
        head -n 20 .cache/compile.log >&2
        stop "Kiln's programs could not be compiled" 'npm run check, which names what is wrong in the source'
      }
      ;;
  esac
  have 'programs compiled'
}
