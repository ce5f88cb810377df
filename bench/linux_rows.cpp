#include "bench/linux_rows.h"

#include <algorithm>

namespace ring3::bench {
namespace {

// 300,000 pseudo-random numbers (Lehmer's generator), so that there is something to sort and to compress.
constexpr const char* kPrepare =
    R"(awk 'BEGIN { x = 1; for (i = 0; i < 300000; i++) { x = x * 16807 % 2147483647; print x } }' >numbers
for i in 1 2 3 4 5 6 7 8; do cat numbers; done >data
)";

constexpr const char* kBuildMix = R"(rm -rf tree out && mkdir tree out && awk 'BEGIN {
  for (i = 0; i < 2000; i++) {
    file = "tree/f" i ".c"
    for (j = 0; j < 20; j++) print "int f" i "_" j "(int x) { return x * " j "; }" >file
    close(file)
  }
}' && tar cf tree.tar tree && tar xf tree.tar -C out &&
for file in out/tree/f1?.c out/tree/f1??.c; do sed -i s/int/long/g $file; done &&
cat out/tree/*.c | sort | awk '{ n += length($0); print n, $0 }' | gzip | gunzip | md5sum | cut -d' ' -f1)";

// Both disks and both cards; "ring3.port=" on the kernel's command line is the port of the host's server.
constexpr const char* kPrepareIo =
    R"(export PORT=$(sed -n 's/.*ring3\.port=\([0-9]*\).*/\1/p' /proc/cmdline)
depmod
for driver in ata_piix sd_mod virtio_pci virtio_blk 8139cp virtio_net; do modprobe $driver; done
for i in 0 1; do ip link set eth$i up; ip addr add 10.0.$((i + 2)).15/24 dev eth$i; done
n=0; until [ -b /dev/sda ] && [ -b /dev/vda ] || [ $n -gt 50 ]; do sleep 0.1; n=$((n + 1)); done
)";

std::string WriteDisk(const std::string& disk) {
  return "dd if=/dev/zero of=/dev/" + disk + " bs=1M count=256 conv=fsync 2>/dev/null && echo done";
}
std::string ReadDisk(const std::string& disk) {
  return "echo 3 >/proc/sys/vm/drop_caches && dd if=/dev/" + disk +
         " of=/dev/null bs=1M count=256 2>/dev/null && echo done";
}
std::string Download(const std::string& host) { return "wget -q -O - http://" + host + ":$PORT/ | wc -c"; }
std::string Upload(const std::string& host) {
  return "dd if=/dev/zero bs=64k count=512 2>/dev/null | nc " + host + " $PORT";
}

const std::vector<LinuxRow>& AllRows() {
  using enum Figure;
  using enum RowUse;
  static const std::vector<LinuxRow> rows = {
      {"user", "recursion", kTotal, "", kBoth},
      {"user", "callback-sort", kTotal, "", kBoth},
      {"user", "hash-table", kTotal, "", kQuick},
      {"user", "pointer-chase", kTotal, "", kQuick},
      {"user", "sha256", kTotal, "", kQuick},
      {"user", "crc32", kTotal, "", kQuick},
      {"user", "lz-compress", kTotal, "", kQuick},
      {"user", "matrix", kTotal, "", kQuick},
      {"user", "queens", kTotal, "", kQuick},
      {"user", "bytecode", kTotal, "", kBoth},
      {"user", "large-code", kTotal, "", kBoth},
      {"user", "x87", kTotal, "", kQuick},
      {"user", "sse2", kTotal, "", kBoth},
      {"user", "strings", kTotal, "", kBoth},
      {"user", "jit-rewrite", kTotal, "", kBoth},
      {"user", "busybox-md5sum", kTotal, "md5sum <data | cut -d' ' -f1"},
      {"user", "busybox-sha256sum", kTotal, "sha256sum <data | cut -d' ' -f1"},
      {"user", "busybox-gzip", kTotal, "gzip <numbers | md5sum | cut -d' ' -f1"},
      {"user", "busybox-awk", kTotal,
       "awk 'BEGIN { for (i = 2; i < 300000; i++) s += 1 / (i * i - 1); printf \"%.9f\\n\", s }'"},
      {"user", "busybox-sort", kTotal, "sort -n numbers | md5sum | cut -d' ' -f1"},
      {"guest", "boot", kBoot, "", kBoth},
      {"guest", "getpid", kPerOperation, "", kBoth},
      {"guest", "system-calls", kPerOperation, "", kBoth},
      {"guest", "fork-wait", kPerOperation, "", kBoth},
      {"guest", "fork-exec", kPerOperation, "", kBoth},
      {"guest", "pipe-ping-pong", kPerOperation, "", kBoth},
      {"guest", "page-faults", kPerOperation, "", kBoth},
      {"guest", "new-memory", kPerOperation, "", kBoth},
      {"guest", "shell-loop", kTotal, "n=0; while [ $n -lt 100000 ]; do n=$((n + 1)); done; echo $n", kAblation},
      {"guest", "shell-fork-exec", kTotal,
       "n=0; while [ $n -lt 200 ]; do \"$(which true)\" || exit; n=$((n + 1)); done; echo $n"},
      {"guest", "dd", kTotal, "dd if=/dev/zero of=/dev/null bs=4k count=200000 2>/dev/null && echo done"},
      {"guest", "pipe-128MiB", kTotal, "dd if=/dev/zero bs=64k count=2048 2>/dev/null | wc -c"},
      {"guest", "line-writes", kTotal, "awk 'BEGIN { for (i = 0; i < 30000; i++) print i }' | md5sum | cut -d' ' -f1"},
      {"guest", "build-mix", kTotal, kBuildMix},
      {"guest", "idle", kIdle, "sleep 3; echo slept"},
      {"guest", "memory", kMemory, ""},
      {"io", "ide-write", kTotal, WriteDisk("sda")},
      {"io", "ide-read", kTotal, ReadDisk("sda"), kQuick},
      {"io", "virtio-blk-write", kTotal, WriteDisk("vda")},
      {"io", "virtio-blk-read", kTotal, ReadDisk("vda")},
      {"io", "rtl8139-download", kTotal, Download("10.0.2.2")},
      {"io", "rtl8139-upload", kTotal, Upload("10.0.2.2")},
      {"io", "virtio-net-download", kTotal, Download("10.0.3.2"), kQuick},
      {"io", "virtio-net-upload", kTotal, Upload("10.0.3.2")},
  };
  return rows;
}

/// For a shell: 'text'.
std::string Quoted(const std::string& text) {
  std::string out = "'";
  for (char c : text) {
    if (c == '\'')
      out += "'\\''";
    else
      out += c;
  }
  return out + "'";
}

}  // namespace

const char* UnitOf(Figure figure) {
  switch (figure) {
    case Figure::kTotal:
      return "ms";
    case Figure::kPerOperation:
      return "µs";
    case Figure::kBoot:
      return "s";
    case Figure::kIdle:
      return "% of a core";
    case Figure::kMemory:
      return "MiB";
  }
  return "";
}

std::vector<LinuxRow> LinuxRows(const std::string& suite, const BenchOptions& options) {
  std::vector<LinuxRow> rows;
  for (const LinuxRow& row : AllRows()) {
    if (row.suite == suite && options.Wants(row.name, row.use)) rows.push_back(row);
  }
  return rows;
}

std::string LinuxScript(const std::vector<LinuxRow>& rows, const std::string& programs, bool quick) {
  std::string script = "echo 'bench: ready'\n";
  auto uses_data = [](const LinuxRow& row) { return row.suite == "user" && !row.commands.empty(); };
  if (std::any_of(rows.begin(), rows.end(), uses_data)) script += kPrepare;
  if (!rows.empty() && rows.front().suite == "io") script += kPrepareIo;
  for (const LinuxRow& row : rows) {
    if (row.figure == Figure::kBoot || row.figure == Figure::kMemory) continue;
    if (row.commands.empty()) {
      script += programs + " run " + row.name + (quick ? " quick\n" : "\n");
    } else {
      script += programs + " shell " + row.name + " " + Quoted(row.commands) + "\n";
    }
  }
  return script + "rm -rf numbers data tree tree.tar out\necho 'bench: done'\n";
}

}  // namespace ring3::bench
