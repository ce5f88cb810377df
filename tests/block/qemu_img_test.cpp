// The images of QEMU's own tools, and their opinion of ours.
#include <catch2/catch.hpp>
#include <random>

#include "devices/block/open_image.h"
#include "monitor/cpu/fault.h"
#include "tests/block/temporary_folder.h"

namespace ring3 {
namespace {

struct QemuImg {
  TemporaryFolder folder;
  bool there = RunProgram({"qemu-img", "--version"}) == 0;

  QemuImg() {
    if (!there) WARN("skipped: qemu-img is not installed (apt-get install qemu-utils)");
  }
  void Run(std::vector<std::string> words) {
    words.insert(words.begin(), "qemu-img");
    std::string output;
    const int code = RunProgram(words, &output);
    INFO(output);
    REQUIRE(code == 0);
  }
  std::unique_ptr<Image> Open(const std::string& name, bool read_only = false) {
    return OpenImage({.file = folder.Path(name), .read_only = read_only});
  }
};

Bytes ReadAll(Image& image) {
  Bytes bytes(image.SizeBytes());
  image.Read(0, bytes);
  return bytes;
}

/// Half of it compresses well, a part is zeros.
Bytes Content(size_t size) {
  Bytes bytes(size);
  for (size_t at = 0; at + 65536 <= size; at += 65536) {
    const size_t kind = at / 65536 % 4;
    if (kind == 0) continue;
    const Bytes piece = RandomBytes(kind == 1 ? 65536 : 64, static_cast<uint32_t>(at));
    for (size_t i = 0; i < 65536; ++i) bytes[at + i] = piece[i % piece.size()];
  }
  return bytes;
}

void Overwrite(Image& image, Bytes& copy, uint32_t seed) {
  std::mt19937 random(seed);
  for (int i = 0; i < 60; ++i) {
    const Bytes data = RandomBytes(1 + random() % 100'000, random());
    const uint64_t offset = random() % (copy.size() - data.size());
    image.Write(offset, data);
    std::copy(data.begin(), data.end(), copy.begin() + static_cast<ptrdiff_t>(offset));
  }
}

}  // namespace

TEST_CASE("qemu-img: what it converts is read, overwritten, and compares equal", "[qcow2][qemu-img]") {
  QemuImg qemu;
  if (!qemu.there) return;
  const std::vector<std::string> options =
      GENERATE(values<std::vector<std::string>>({{"-o", "compat=1.1"},
                                                 {"-o", "compat=0.10"},
                                                 {"-c"},
                                                 {"-c", "-o", "cluster_size=4096"},
                                                 {"-o", "preallocation=metadata"},
                                                 {"-o", "lazy_refcounts=on,refcount_bits=1"},
                                                 {"-o", "cluster_size=2M"}}));
  Bytes copy = Content(6 << 20);
  const std::string raw = qemu.folder.Write("a.raw", copy);
  std::vector<std::string> words = {"convert", "-f", "raw", "-O", "qcow2"};
  words.insert(words.end(), options.begin(), options.end());
  words.insert(words.end(), {raw, qemu.folder.Path("a.qcow2")});
  qemu.Run(words);
  {
    auto image = qemu.Open("a.qcow2");
    CHECK((ReadAll(*image) == copy));
    Overwrite(*image, copy, 1);
    image->Flush();
    CHECK((ReadAll(*image) == copy));
  }
  qemu.Run({"check", qemu.folder.Path("a.qcow2")});
  qemu.folder.Write("b.raw", copy);
  qemu.Run({"compare", "-f", "raw", "-F", "qcow2", qemu.folder.Path("b.raw"), qemu.folder.Path("a.qcow2")});
}

TEST_CASE("qemu-img: a chain of backing files with relative names", "[qcow2][qemu-img]") {
  QemuImg qemu;
  if (!qemu.there) return;
  Bytes copy = Content(2 << 20);
  qemu.folder.Write("base.raw", copy);
  qemu.Run({"create", "-q", "-f", "qcow2", "-F", "raw", "-b", "base.raw", qemu.folder.Path("one.qcow2")});
  qemu.Run({"create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", "one.qcow2", qemu.folder.Path("two.qcow2"), "3M"});
  copy.resize(3 << 20);
  {
    auto image = qemu.Open("two.qcow2");
    CHECK((ReadAll(*image) == copy));
    Overwrite(*image, copy, 2);
  }
  qemu.Run({"check", qemu.folder.Path("two.qcow2")});
  qemu.folder.Write("expected.raw", copy);
  qemu.Run({"compare", qemu.folder.Path("expected.raw"), qemu.folder.Path("two.qcow2")});
  qemu.Run({"commit", "-q", qemu.folder.Path("two.qcow2")});
  CHECK((ReadAll(*qemu.Open("one.qcow2", true)) == copy));
}

TEST_CASE("qemu-img: writes leave internal snapshots alone", "[qcow2][qemu-img]") {
  QemuImg qemu;
  if (!qemu.there) return;
  const Bytes before = Content(4 << 20);
  const std::string path = qemu.folder.Path("a.qcow2");
  qemu.Run(
      {"convert", "-f", "raw", "-O", "qcow2", "-o", "cluster_size=1024", qemu.folder.Write("a.raw", before), path});
  qemu.Run({"snapshot", "-c", "kept", path});
  Bytes copy = before;
  {
    auto image = qemu.Open("a.qcow2");
    Overwrite(*image, copy, 3);
    CHECK((ReadAll(*image) == copy));
  }
  qemu.Run({"check", path});
  qemu.Run({"snapshot", "-a", "kept", path});
  CHECK((ReadAll(*qemu.Open("a.qcow2")) == before));
}

TEST_CASE("qemu-img: it and we keep each other from one file", "[qcow2][qemu-img]") {
  QemuImg qemu;
  if (!qemu.there) return;
  const std::string path = qemu.folder.Path("a.qcow2");
  qemu.Run({"create", "-q", "-f", "qcow2", path, "1M"});
  auto image = qemu.Open("a.qcow2");
  std::string output;
  CHECK(RunProgram({"qemu-img", "check", path}, &output) != 0);
  CHECK_THAT(output, Catch::Contains("lock"));
}

}  // namespace ring3
