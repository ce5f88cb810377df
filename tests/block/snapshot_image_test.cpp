#include "devices/block/snapshot_image.h"

#include <catch2/catch.hpp>
#include <fstream>
#include <iterator>
#include <random>

#include "devices/block/open_image.h"
#include "monitor/cpu/fault.h"
#include "tests/block/test_qcow2.h"

namespace ring3 {

TEST_CASE("snapshot: changes are seen, and the file keeps its content", "[snapshot]") {
  TemporaryFolder folder;
  Bytes base = RandomBytes(100'352, 1);  // ends inside a cluster
  const std::string path = folder.Write("a.raw", base);
  Bytes copy = base;
  {
    const auto image = OpenImage({.file = path, .snapshot = true});
    CHECK_FALSE(image->ReadOnly());
    std::mt19937 random(7);
    for (int i = 0; i < 50; ++i) {
      const Bytes data = RandomBytes(1 + random() % 9000, random());
      const uint64_t offset = i == 0 ? copy.size() - data.size() : random() % (copy.size() - data.size() + 1);
      image->Write(offset, data);
      std::copy(data.begin(), data.end(), copy.begin() + static_cast<ptrdiff_t>(offset));
      Bytes seen(copy.size());
      image->Read(0, seen);
      REQUIRE((seen == copy));
    }
    image->Flush();
  }
  std::ifstream file(path, std::ios::binary);
  const Bytes kept{std::istreambuf_iterator<char>(file), {}};
  CHECK((kept == base));
}

TEST_CASE("snapshot: a disk of exabytes is refused, not a crash", "[snapshot]") {
  TemporaryFolder folder;
  const Bytes image = EmptyQcow2({.size_bytes = uint64_t{1} << 60, .cluster_bits = 21});
  const std::string path = folder.Write("a.qcow2", image);
  CHECK_THROWS_AS(OpenImage({.file = path, .snapshot = true}), UsageError);
}

}  // namespace ring3
