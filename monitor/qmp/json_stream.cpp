#include "monitor/qmp/json_stream.h"

#include <utility>

namespace ring3::qmp {

void JsonStream::Feed(std::string_view bytes) {
  for (char byte : bytes) {
    if (skipping_) {
      skipping_ = byte != '\n';
    } else if (depth_ == 0) {
      Outside(byte);
    } else {
      Inside(byte);
    }
  }
}

void JsonStream::Outside(char byte) {
  constexpr std::string_view kSpace = " \t\r\n";
  if (byte == '{') {
    text_ = "{";
    depth_ = 1;
  } else if (kSpace.find(byte) == std::string_view::npos) {
    Refuse("Invalid JSON syntax");
  }
}

void JsonStream::Inside(char byte) {
  text_.push_back(byte);
  if (text_.size() > kMostBytes) return Refuse("JSON token size limit exceeded");
  if (in_string_) {
    if (escaped_) {
      escaped_ = false;
    } else if (byte == '\\') {
      escaped_ = true;
    } else if (byte == '"') {
      in_string_ = false;
    }
    return;
  }
  if (byte == '"') in_string_ = true;
  if (byte == '{' || byte == '[') ++depth_;
  if (depth_ > kMostDepth) return Refuse("JSON nesting depth limit exceeded");
  if (byte != '}' && byte != ']') return;
  if (--depth_ == 0) events_.object(std::exchange(text_, {}));
}

void JsonStream::Refuse(const std::string& why) {
  text_.clear();
  text_.shrink_to_fit();
  depth_ = 0;
  in_string_ = escaped_ = false;
  skipping_ = true;
  events_.rubbish(why);
}

}  // namespace ring3::qmp
