#include "monitor/qmp/input_commands.h"

#include <fmt/core.h>

#include <algorithm>

#include "monitor/qmp/arguments.h"

namespace ring3::qmp {
namespace {

constexpr uint64_t kNanosecondsPerMs = 1'000'000, kDefaultHoldMs = 100, kMostHoldMs = 60'000;

/// {"type": "qcode", "data": "ret"} or {"type": "number", "data": 28}
Key ParseKeyValue(const Json& value) {
  const std::string& type = Member(value, "type", Type::kString).get_ref<const std::string&>();
  if (type == "qcode") {
    const std::string name = Member(value, "data", Type::kString);
    if (const auto key = FindKey(name)) return *key;
    throw CommandError(kGeneric, fmt::format("Parameter 'data' does not accept value '{}'", name));
  }
  if (type != "number") throw CommandError(kGeneric, fmt::format("Parameter 'type' does not accept value '{}'", type));
  const Json& number = Member(value, "data", Type::kNumber);
  const auto code = number.is_number_unsigned() ? number.get<uint64_t>() : 0;
  const auto key = FindKeyNumber(static_cast<uint32_t>(std::min<uint64_t>(code, UINT32_MAX)));
  if (!key) throw CommandError(kGeneric, "Parameter 'data' is not the number of a key");
  return *key;
}

struct InputEvent {
  enum class Kind : uint8_t { kKey, kButton, kMove, kPoint } kind;
  Key key;
  std::string button;
  int right = 0, down = 0;
  bool pressed = false;
  std::optional<int> x, y;
};

InputEvent ParseInputEvent(const Json& event) {
  constexpr int64_t kMostCounts = 100'000;
  const std::string type = Member(event, "type", Type::kString);
  const Json& data = Member(event, "data", Type::kObject);
  if (type == "key") {
    return {.kind = InputEvent::Kind::kKey,
            .key = ParseKeyValue(Member(data, "key", Type::kObject)),
            .pressed = Member(data, "down", Type::kBool)};
  }
  if (type == "btn") {
    constexpr std::string_view kButtons[] = {"left", "middle", "right", "side", "extra", "wheel-up", "wheel-down"};
    const std::string button = Member(data, "button", Type::kString);
    if (std::ranges::find(kButtons, button) == std::end(kButtons))
      throw CommandError(kGeneric, fmt::format("Parameter 'button' does not accept value '{}'", button));
    return {.kind = InputEvent::Kind::kButton, .button = button, .pressed = Member(data, "down", Type::kBool)};
  }
  if (type == "rel") {
    const std::string axis = Member(data, "axis", Type::kString);
    const auto counts =
        static_cast<int>(std::clamp(Member(data, "value", Type::kNumber).get<int64_t>(), -kMostCounts, kMostCounts));
    if (axis != "x" && axis != "y")
      throw CommandError(kGeneric, fmt::format("Parameter 'axis' does not accept value '{}'", axis));
    return {.kind = InputEvent::Kind::kMove, .right = axis == "x" ? counts : 0, .down = axis == "y" ? counts : 0};
  }
  if (type == "abs") {
    const std::string axis = Member(data, "axis", Type::kString);
    const auto value = static_cast<int>(
        std::clamp<int64_t>(Member(data, "value", Type::kNumber).get<int64_t>(), 0, PointerInput::kLastPosition));
    InputEvent point{.kind = InputEvent::Kind::kPoint};
    if (axis != "x" && axis != "y")
      throw CommandError(kGeneric, fmt::format("Parameter 'axis' does not accept value '{}'", axis));
    (axis == "x" ? point.x : point.y) = value;
    return point;
  }
  throw CommandError(kGeneric, fmt::format("Parameter 'type' does not accept value '{}'", type));
}

}  // namespace

Json SendKeys(const CommandContext& context, const Json& arguments) {
  constexpr size_t kMostKeys = 64;
  KeyChord chord;
  for (const Json& key : arguments["keys"]) chord.push_back(ParseKeyValue(key));
  if (chord.size() > kMostKeys) throw CommandError(kGeneric, "Too many keys in one chord");
  const int64_t hold = arguments.value("hold-time", static_cast<int64_t>(kDefaultHoldMs));
  const auto hold_ms = static_cast<uint64_t>(std::clamp<int64_t>(hold, 0, kMostHoldMs));
  if (!context.control.Keys().Play(chord, hold_ms * kNanosecondsPerMs, KeyPlayer::kTypingGapNs))
    throw CommandError(kGeneric, "Too many keys are waiting");
  return Nothing();
}

Json SendInput(const CommandContext& context, const Json& arguments) {
  std::vector<InputEvent> events;
  for (const Json& event : arguments["events"]) events.push_back(ParseInputEvent(event));
  int right = 0, down = 0;
  std::optional<int> x, y;
  const auto point = [&] {
    if (x || y) context.control.Pointer().PointAt(x, y);
    x.reset(), y.reset();
  };
  for (const InputEvent& event : events) {
    switch (event.kind) {
      case InputEvent::Kind::kKey:
        if (!context.control.Keys().Play(event.key, event.pressed))
          throw CommandError(kGeneric, "Too many keys are waiting");
        break;
      case InputEvent::Kind::kPoint:
        (event.x ? x : y) = event.x ? event.x : event.y;
        break;
      case InputEvent::Kind::kButton:
        point();  // a button counts where the pointer is by then
        context.control.Pointer().Button(event.button, event.pressed);
        break;
      case InputEvent::Kind::kMove:
        right += event.right;
        down += event.down;
        break;
    }
  }
  point();
  if (right != 0 || down != 0) context.control.Pointer().Move(right, down, 0);
  return Nothing();
}

Json TypeText(const CommandContext& context, const Json& arguments) {
  const std::string text = arguments["text"];
  std::vector<KeyChord> chords;
  for (char c : text) {
    const auto chord = ChordOf(c);
    if (!chord) throw CommandError(kGeneric, fmt::format("no key types character {:#04x}", c & 0xFF));
    chords.push_back(*chord);
  }
  for (const KeyChord& chord : chords) {
    if (!context.control.Keys().Play(chord, KeyPlayer::kTypingHoldNs, KeyPlayer::kTypingGapNs))
      throw CommandError(kGeneric, "Too many keys are waiting");
  }
  return Nothing();
}

}  // namespace ring3::qmp
