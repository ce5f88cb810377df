# Debian's i386 packages by a private apt state: neither the system's package lists nor its architectures change, and no
# privilege is needed. Sourced; the sourcing script sets $me, its name in messages.

say() { echo "$me: $*"; }
# Exit code 3: a package, a tool or the network is missing.
give_up() {
  echo "$me: $*" >&2
  exit 3
}
require_tools() { # require_tools PROGRAM...
  local tool
  for tool in "$@"; do
    PATH=$PATH:/usr/sbin:/sbin command -v "$tool" >/dev/null || give_up "$tool is not installed"
  done
}

# Writes to $1 the machine's own sources for this Debian release; other suites (third parties) cannot hold the guests.
copy_sources() {
  local into=$1 codename file
  codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
  mkdir -p "$into"
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
    [ -s "$file" ] || continue
    grep -v '^[[:space:]]*#' "$file" | grep -qE "(^|[[:space:]])$codename(-updates|-security)?([[:space:]]|\$)" || continue
    # A source restricted to other architectures would hide the i386 packages.
    sed -E 's/[[:space:]]*arch=[^] ]*//; /^Architectures:/d' "$file" >"$into/$(basename "$file")"
  done
  [ -n "$(ls -A "$into")" ] || give_up "no apt source for Debian release '$codename' on this machine"
}

# Has apt work in the folder $1 from here on.
write_apt_config() {
  local root=$1
  mkdir -p "$root"/{state/lists/partial,cache/archives/partial,etc/preferences.d}
  : >"$root/status"
  : >"$root/sources.list"
  cat >"$root/apt.conf" <<CONF
Dir::State "$root/state";
Dir::State::status "$root/status";
Dir::Cache "$root/cache";
Dir::Etc::sourcelist "$root/sources.list";
Dir::Etc::sourceparts "$root/sources.d";
Dir::Etc::preferencesparts "$root/etc/preferences.d";
APT::Architecture "i386";
#clear APT::Architectures;
APT::Architectures { "i386"; };
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "2";
CONF
  copy_sources "$root/sources.d"
  export APT_CONFIG=$root/apt.conf
}

# read_package_lists PACKAGE: fails where the archive does not show this package.
read_package_lists() {
  say "reading the package lists (i386)"
  # One list that cannot be had (a mirror in the middle of its update) need not stop us: apt leaves that list out.
  apt-get -qq update >&2 || say "some package lists could not be read; going on with the others"
  [ -n "$(apt-cache pkgnames "$1")" ] || give_up "cannot read the Debian package lists: is there a network?"
}

# Where this machine gets the release itself from, as "URI CODENAME".
main_archive() {
  local codename
  codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
  apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT)' 'Created-By: Packages' |
    sed -n "s/^\(.*\) $codename main\$/\1 $codename/p" | head -n 1
}
