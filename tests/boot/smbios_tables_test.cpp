#include "monitor/boot/smbios_tables.h"

#include <catch2/catch.hpp>
#include <set>

namespace ring3 {

TEST_CASE("SMBIOS structures can be walked, and the entry point counts them") {
  const SmbiosImage image = BuildSmbios(512u << 20);
  REQUIRE(image.anchor.size() == 31);
  CHECK(LoadField<uint16_t>(image.anchor, 22) == image.tables.size());
  std::multiset<unsigned> types;
  std::set<unsigned> handles;
  size_t largest = 0;
  for (size_t at = 0; at < image.tables.size();) {
    const size_t start = at, length = image.tables.at(at + 1);
    types.insert(image.tables[at]);
    handles.insert(LoadField<uint16_t>(image.tables, at + 2));
    for (at += length; image.tables.at(at) != 0 || image.tables.at(at + 1) != 0;) ++at;
    at += 2;
    largest = std::max(largest, at - start);
  }
  CHECK(types == std::multiset<unsigned>{1, 3, 4, 16, 17, 19, 32, 127});
  CHECK(handles.size() == types.size());
  CHECK(LoadField<uint16_t>(image.anchor, 28) == types.size());
  CHECK(LoadField<uint16_t>(image.anchor, 8) == largest);
}

}  // namespace ring3
