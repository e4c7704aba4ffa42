# Sourced by every script: checks the tools, installs the npm packages where they are not current, and puts the pinned Node in front.
# Works from any folder, with any Node >= 18 and npm.

RAP_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$RAP_ROOT"

say() { printf '\033[2m%s\033[0m\n' "$*" >&2; }
die() { printf 'error: %s\n' "$1" >&2; shift; for hint in "$@"; do printf 'hint:  %s\n' "$hint" >&2; done; exit 1; }

command -v node >/dev/null || die 'node is not installed' 'install Node.js 18 or newer with npm; the project brings its own Node 22 from there'
command -v npx >/dev/null || die 'npm is not installed' 'sudo apt-get install npm'
[ "$(node -p 'Number(process.versions.node.split(".")[0]) >= 18')" = true ] || die "Node $(node --version) is too old" 'install Node.js 18 or newer'

rap_install() {
  local pnpm_version headers
  pnpm_version=$(node -p 'require("./package.json").packageManager.split("@")[1].split("+")[0]')
  # A native module is compiled against the headers of the Node that it will run in; npm brings them with it.
  headers="$RAP_ROOT/node_modules/node-linux-$(node -p process.arch)"
  npm_config_nodedir="$headers" npx --yes "pnpm@$pnpm_version" install --frozen-lockfile --reporter=append-only "$@" >&2 ||
    die 'npm packages could not be installed' 'read the lines above; the npm registry must be reachable'
}

# The stamp names the lockfile that node_modules was made from.
rap_stamp=$(cat pnpm-lock.yaml pnpm-workspace.yaml package.json packages/*/package.json services/*/package.json e2e/package.json scripts/package.json | sha256sum | cut -d' ' -f1)
if [ "$(cat node_modules/.rap-stamp 2>/dev/null)" != "$rap_stamp" ] || [ ! -x node_modules/.bin/node ]; then
  say 'Installing npm packages (first time, or the lockfile changed) ...'
  rap_install
  [ -x node_modules/.bin/node ] || die "no Node 22 for this processor ($(uname -m))" 'RAP runs on Linux x64 and arm64'
  printf '%s' "$rap_stamp" > node_modules/.rap-stamp
fi

# The program itself, not the shell script that npm packages put around it: a signal has to reach Node.
PATH="$RAP_ROOT/node_modules/.bin:$PATH"
for rap_node in "$RAP_ROOT"/node_modules/node-linux-*/bin; do [ -x "$rap_node/node" ] && PATH="$rap_node:$PATH"; done
export PATH
# A core file of a service would hold what its memory held.
ulimit -c 0
