#include "devices/block/qcow2_image.h"

#include <catch2/catch.hpp>
#include <random>

#include "devices/block/big_endian.h"
#include "devices/block/open_image.h"
#include "monitor/cpu/fault.h"
#include "tests/block/test_qcow2.h"

namespace ring3 {
namespace {

std::unique_ptr<Image> Open(const std::string& path, bool read_only = false) {
  return OpenImage({.file = path, .format = ImageFormat::kQcow2, .read_only = read_only});
}

Bytes ReadAll(Image& image) {
  Bytes bytes(image.SizeBytes());
  image.Read(0, bytes);
  return bytes;
}

/// Writes at random places, as often across clusters as inside one, to the image and to a plain copy.
void WriteRandomly(Image& image, Bytes& copy, unsigned count, uint32_t seed, uint64_t longest) {
  std::mt19937 random(seed);
  for (unsigned i = 0; i < count; ++i) {
    const uint64_t bytes = 1 + random() % longest;
    const uint64_t offset = random() % (copy.size() - bytes + 1);
    const Bytes data = RandomBytes(bytes, random());
    image.Write(offset, data);
    std::copy(data.begin(), data.end(), copy.begin() + static_cast<ptrdiff_t>(offset));
  }
}

/// 0: sound, 3: clusters that nobody uses; -1: no qemu-img.
int CheckWithQemu(const std::string& path) {
  std::string output;
  const int code = RunProgram({"qemu-img", "check", "-q", path}, &output);
  INFO(output);
  CHECK((code == 0 || code == -1));
  if (code == -1) WARN("qemu-img is not installed: images are not checked by it");
  return code;
}

}  // namespace

TEST_CASE("qcow2: an empty image reads as zeros, and keeps what is written", "[qcow2]") {
  TemporaryFolder folder;
  const std::string path = folder.Write("a.qcow2", EmptyQcow2({}));
  {
    auto image = Open(path);
    CHECK(image->SizeBytes() == 1 << 20);
    CHECK(ReadAll(*image) == Bytes(1 << 20));
    image->Write(100'000, Bytes(5, 7));
    image->Flush();
  }
  Bytes expected(1 << 20);
  std::fill_n(expected.begin() + 100'000, 5, 7);
  CHECK(ReadAll(*Open(path)) == expected);
  CheckWithQemu(path);
}

TEST_CASE("qcow2: random writes in every shape", "[qcow2]") {
  const auto [version, cluster_bits, order, size] =
      GENERATE(table<uint32_t, unsigned, unsigned, uint64_t>({{2, 9, 4, 6 << 20},
                                                              {2, 16, 4, 9 << 20},
                                                              {3, 9, 0, 1 << 20},
                                                              {3, 9, 1, 1 << 20},
                                                              {3, 10, 2, 2 << 20},
                                                              {3, 9, 3, 3 << 20},
                                                              {3, 9, 6, 3 << 20},
                                                              {3, 12, 5, 4 << 20},
                                                              {3, 16, 4, (5 << 20) + 512},
                                                              {3, 21, 4, 9 << 20}}));
  CAPTURE(version, cluster_bits, order);
  TemporaryFolder folder;
  const std::string path = folder.Write(
      "a.qcow2",
      EmptyQcow2({.size_bytes = size, .version = version, .cluster_bits = cluster_bits, .refcount_order = order}));
  Bytes copy(size);
  {
    auto image = Open(path);
    WriteRandomly(*image, copy, 120, order + 1, 3u << cluster_bits);
    WriteRandomly(*image, copy, 120, order + 2, 3000);
    CHECK((ReadAll(*image) == copy));
  }
  CHECK((ReadAll(*Open(path)) == copy));
  CheckWithQemu(path);
}

TEST_CASE("qcow2: the refcount table grows", "[qcow2]") {
  TemporaryFolder folder;
  const uint64_t size = 40 << 20;  // 64-bit refcounts of 512-byte clusters: a table of one cluster covers 2 MiB
  const std::string path =
      folder.Write("a.qcow2", EmptyQcow2({.size_bytes = size, .cluster_bits = 9, .refcount_order = 6}));
  const Bytes data = RandomBytes(size, 3);
  {
    auto image = Open(path);
    for (uint64_t at = 0; at < size; at += 1 << 20) image->Write(at, std::span(data).subspan(at, 1 << 20));
  }
  CHECK((ReadAll(*Open(path)) == data));
  CheckWithQemu(path);
}

TEST_CASE("qcow2: a backing file shows through until it is covered", "[qcow2]") {
  TemporaryFolder folder;
  const Bytes base = RandomBytes(300'032, 5);  // ends inside a cluster and before the overlay does
  folder.Write("base.raw", base);
  const std::string path = folder.Write(
      "over.qcow2", EmptyQcow2({.size_bytes = 1 << 20, .backing_file = "base.raw", .backing_format = "raw"}));
  Bytes copy(1 << 20);
  std::copy(base.begin(), base.end(), copy.begin());
  auto image = Open(path);
  CHECK((ReadAll(*image) == copy));
  WriteRandomly(*image, copy, 30, 9, 5000);
  CHECK((ReadAll(*image) == copy));
  CHECK((ReadAll(*OpenImage({.file = folder.Path("base.raw"), .format = ImageFormat::kRaw, .read_only = true}))) ==
        [&] {
          Bytes padded = base;
          padded.resize((base.size() + 511) / 512 * 512);
          return padded;
        }());
}

TEST_CASE("qcow2: backing files that form a ring, or are missing, are refused", "[qcow2]") {
  TemporaryFolder folder;
  const std::string ring =
      folder.Write("ring.qcow2", EmptyQcow2({.backing_file = "ring.qcow2", .backing_format = "qcow2"}));
  CHECK_THROWS_AS(Open(ring, true), UsageError);
  CHECK_THROWS_AS(Open(ring), UsageError);
  const std::string lonely = folder.Write("lonely.qcow2", EmptyQcow2({.backing_file = "nothing.raw"}));
  CHECK_THROWS_WITH(Open(lonely), Catch::Contains("nothing.raw") && Catch::Contains("backing file of"));
}

TEST_CASE("qcow2: images that cannot be used are refused", "[qcow2]") {
  TemporaryFolder folder;
  Bytes bytes = EmptyQcow2({});
  const auto refused = [&](size_t at, uint32_t value, const std::string& why) {
    Bytes changed = bytes;
    StoreBig<uint32_t>(&changed[at], value);
    CHECK_THROWS_WITH(Open(folder.Write("bad.qcow2", changed)), Catch::Contains(why));
  };
  refused(0, 1, "not a qcow2 image");
  refused(4, 4, "version 4");
  refused(20, 30, "cluster size");
  refused(32, 1, "encrypted");
  refused(36, 0, "L1 table");
  refused(44, 0x1234, "L1 table");
  refused(52, 0x7FFF0000, "refcount table");
  refused(56, 0, "refcount table");
  refused(76, 1, "qemu-img check");
  refused(76, 2, "qemu-img check");
  refused(76, 4, "external data file");
  refused(76, 8, "zstd");
  refused(76, 16, "extended L2");
  refused(76, 32, "features");
  refused(96, 7, "refcounts");
  bytes.resize(60);
  CHECK_THROWS_WITH(Open(folder.Write("short.qcow2", bytes)), Catch::Contains("truncated"));
}

TEST_CASE("qcow2: a damaged table is an error of the transfer", "[qcow2]") {
  TemporaryFolder folder;
  Bytes bytes = EmptyQcow2({});
  StoreBig<uint64_t>(&bytes[3 << 16], (uint64_t{1} << 63) | 0x10200);  // L1 entry 0: not a cluster's offset
  auto image = Open(folder.Write("a.qcow2", bytes));
  Bytes sector(512);
  CHECK_THROWS_AS(image->Read(0, sector), ImageError);
  CHECK_THROWS_AS(image->Write(0, sector), ImageError);
  CHECK_THROWS_AS(image->Read((1 << 20) - 100, sector), ImageError);  // beyond the end
}

TEST_CASE("qcow2: data mapped over the image's own tables is not written", "[qcow2]") {
  TemporaryFolder folder;
  Bytes bytes = EmptyQcow2({});
  bytes.resize(5 << 16);
  StoreBig<uint64_t>(&bytes[3 << 16], (uint64_t{1} << 63) | 4 << 16);
  StoreBig<uint64_t>(&bytes[4 << 16], (uint64_t{1} << 63) | 1 << 16);  // cluster 0 lies on the refcount table
  auto image = Open(folder.Write("a.qcow2", bytes));
  CHECK_THROWS_WITH(image->Write(0, Bytes(512)), Catch::Contains("damaged"));
}

}  // namespace ring3
