# Sourced by the scripts beside it with $root set to the repository.
# Puts what set-up provides on PATH: the locked Node and the packages' commands first, because their
# versions matter; the tools of .cache last, because the machine's own are preferred.
for node in "$root"/node_modules/node-linux-*/bin; do
  if [ -x "$node/node" ]; then PATH=$node:$PATH; fi
done
PATH=$root/node_modules/.bin:$PATH:/usr/sbin:/sbin:$root/.cache/tools/bin
unset node
export PATH
