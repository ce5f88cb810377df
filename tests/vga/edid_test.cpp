#include "devices/vga/edid.h"

#include <catch2/catch.hpp>
#include <numeric>

namespace ring3 {

TEST_CASE("EDID: a block with header, checksum and the preferred mode first") {
  for (const auto& [width, height] :
       {std::pair<uint16_t, uint16_t>{1024, 768}, {1280, 800}, {640, 480}, {2560, 1600}}) {
    const auto edid = MakeEdid(width, height);
    CHECK(edid[0] == 0);
    CHECK(edid[1] == 0xFF);
    CHECK(edid[18] == 1);
    CHECK(std::accumulate(edid.begin(), edid.end(), 0u) % 256 == 0);
    const uint8_t* timing = edid.data() + 54;
    CHECK((timing[2] | (timing[4] >> 4) << 8) == width);
    CHECK((timing[5] | (timing[7] >> 4) << 8) == height);
    const unsigned dots = width + 160u, lines = height + (timing[6] | (timing[7] & 15u) << 8);
    const double hertz = (timing[0] | timing[1] << 8) * 10'000.0 / (dots * lines);
    CHECK(hertz > 59);
    CHECK(hertz <= 60);
  }
}

TEST_CASE("EDID: the reduced-blanking timing of 1920 by 1200 is VESA's") {
  const auto edid = MakeEdid(1920, 1200);
  CHECK((edid[54] | edid[55] << 8) == 15400);  // 154 MHz
  CHECK((edid[60] | (edid[61] & 15) << 8) == 35);
  CHECK((edid[64] & 15) == 6);
}

}  // namespace ring3
