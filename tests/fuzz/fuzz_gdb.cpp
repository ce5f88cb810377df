// gdb's side of the line: any bytes, cut anywhere, and stops at any time. The stub survives, answers each packet at
// most once, and leaves no stops behind.
#include <optional>
#include <string>

#include "monitor/gdb/packets.h"
#include "monitor/gdb/stub.h"
#include "tests/control/fake_target.h"
#include "tests/fuzz/input.h"

namespace ring3::fuzz {

void Run(Input input) {
  gdb::FakeTarget target;
  unsigned answers = 0;
  {
    gdb::Stub stub(target, [&](std::string_view payload) {
      ++answers;
      Require(payload.size() <= gdb::kMostPayload, "an answer is longer than a packet");
    });
    const auto packet = [&](std::string_view payload) {
      const unsigned before = answers;
      stub.Packet(payload);
      Require(answers <= before + 1, "a packet with two answers");
    };
    gdb::PacketReader reader(
        {.packet = packet, .damaged = [] {}, .interrupt = [&] { stub.Interrupt(); }, .refused = [] {}});
    const bool framed = input.Bit();
    const auto rest = input.Rest();
    const std::string text(rest.begin(), rest.end());
    for (size_t at = 0; at <= text.size();) {
      const size_t end = std::min(text.find('\n', at), text.size());
      const std::string line = text.substr(at, end - at);
      reader.Feed(framed ? gdb::Frame(line) : line);
      if (line.starts_with("!"))
        stub.Stopped({static_cast<DebugEvent::Kind>(line.size() % 4), static_cast<unsigned>(line.size())});
      at = end + 1;
    }
    Require(target.stops.code.size() <= gdb::Stub::kMostStops, "too many breakpoints");
    Require(target.stops.data.size() <= DebugStops::kMostWatches, "too many watchpoints");
  }
  Require(target.stops.Empty(), "stops are left behind");
}

}  // namespace ring3::fuzz
