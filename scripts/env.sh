# Sourced by the scripts beside it with $root set to the repository.
# Puts what set-up provides on PATH: the locked Node and the packages' commands first, because their
# versions matter; the tools of .cache last, because the machine's own are preferred.
for node in "$root"/scripts/setup/node/node_modules/node-linux-*/bin; do
  if [ -x "$node/node" ]; then PATH=$node:$PATH; fi
done
PATH=$root/node_modules/.bin:$PATH:/usr/sbin:/sbin:$root/.cache/tools/bin
unset node
export PATH

# One of Kiln's programs: as set-up compiled it, or its source where anything was edited since.
program_file() { # NAME
  if edited=$(find "$root/src" "$root/signing" "$root/workflows" "$root/package.json" "$root/package-lock.json" \
    -newer "$root/dist/made" -print -quit 2>/dev/null) && [ -z "$edited" ]; then
    echo "$root/dist/kiln/$1.js"
  else
    echo "$root/src/main/$1.ts"
  fi
}
