#include <catch2/catch.hpp>

#include "monitor/gdb/packets.h"

namespace ring3::gdb {
namespace {

struct Recorder {
  std::vector<std::string> events;
  PacketReader reader{{.packet = [this](std::string_view p) { events.push_back("packet " + std::string(p)); },
                       .damaged = [this] { events.push_back("damaged"); },
                       .interrupt = [this] { events.push_back("interrupt"); },
                       .refused = [this] { events.push_back("refused"); }}};
};
using Events = std::vector<std::string>;

TEST_CASE("packets are taken out of a stream, however it is cut", "[gdb]") {
  const std::string stream = "+" + Frame("qSupported") + Frame("g") + "\x03-" + Frame("m10,4");
  const Events expected = {"packet qSupported", "packet g", "interrupt", "refused", "packet m10,4"};
  Recorder whole, bytes;
  whole.reader.Feed(stream);
  CHECK(whole.events == expected);
  for (char c : stream) bytes.reader.Feed({&c, 1});
  CHECK(bytes.events == expected);
}

TEST_CASE("frames are as the manual has them", "[gdb]") {
  CHECK(Frame("OK") == "$OK#9a");
  CHECK(Frame("") == "$#00");
  CHECK(Frame("#") == "$}\x03#80");
}

TEST_CASE("what is framed is read back, special characters too", "[gdb]") {
  std::string all;
  for (int c = 0; c < 256; ++c) all.push_back(static_cast<char>(c));
  Recorder r;
  r.reader.Feed(Frame(all));
  CHECK(r.events == Events{"packet " + all});
}

TEST_CASE("damaged packets are refused, and the next one is read", "[gdb]") {
  Recorder r;
  r.reader.Feed("$g#00$g#zz" + Frame("g"));
  CHECK(r.events == Events{"damaged", "damaged", "packet g"});
}

TEST_CASE("a packet without end takes no memory without end", "[gdb]") {
  Recorder r;
  r.reader.Feed("$");
  const std::string much(kMostPayload, 'x');
  for (int i = 0; i < 64; ++i) r.reader.Feed(much);
  r.reader.Feed("#00" + Frame("g"));
  CHECK(r.events == Events{"damaged", "packet g"});
}

TEST_CASE("hexadecimal numbers and bytes", "[gdb]") {
  CHECK(ToHex(std::vector<uint8_t>{0, 0xAB, 0xFF}) == "00abff");
  CHECK(FromHex("00ABff") == std::vector<uint8_t>{0, 0xAB, 0xFF});
  CHECK_FALSE(FromHex("abc"));
  CHECK_FALSE(FromHex("zz"));
  std::string_view text = "c0100000,4";
  CHECK(TakeHex(text) == 0xC0100000u);
  CHECK(text == ",4");
  CHECK_FALSE(TakeHex(text));
}

}  // namespace
}  // namespace ring3::gdb
