#include "monitor/properties.h"

#include <fmt/core.h>

#include "monitor/cpu/fault.h"

namespace ring3 {

std::vector<std::string> SplitAtCommas(const std::string& text) {
  std::vector<std::string> words(1);
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != ',') {
      words.back() += text[i];
    } else if (i + 1 < text.size() && text[i + 1] == ',') {
      words.back() += ',', ++i;
    } else {
      words.emplace_back();
    }
  }
  return words;
}

Properties::Properties(std::string option, const std::string& text) : option_(std::move(option)) {
  const std::vector<std::string> words = SplitAtCommas(text);
  first_ = words.front();
  for (size_t i = 1; i < words.size(); ++i) {
    const size_t equals = words[i].find('=');
    const bool has_value = equals != std::string::npos;
    properties_.push_back({words[i].substr(0, equals), has_value ? words[i].substr(equals + 1) : "on"});
  }
}

std::optional<std::string> Properties::Take(const std::string& key) {
  const std::vector<std::string> all = TakeAll(key);
  return all.empty() ? std::nullopt : std::optional(all.back());
}

std::vector<std::string> Properties::TakeAll(const std::string& key) {
  std::vector<std::string> values;
  for (const Property& property : properties_) {
    if (property.key == key) values.push_back(property.value);
  }
  std::erase_if(properties_, [&](const Property& property) { return property.key == key; });
  return values;
}

bool Properties::TakeFlag(const std::string& key, bool otherwise) {
  const auto value = Take(key);
  if (!value) return otherwise;
  if (*value == "on" || *value == "yes" || *value == "true") return true;
  if (*value == "off" || *value == "no" || *value == "false") return false;
  Refuse(fmt::format("{}={}: say on or off", key, *value));
}

void Properties::ExpectNothingElse(const std::string& known) const {
  if (properties_.empty()) return;
  Refuse(fmt::format("no property '{}' (there are: {})", properties_.front().key, known));
}

void Properties::Refuse(const std::string& why) const {
  throw UsageError(fmt::format("{} {}: {}", option_, first_, why));
}

}  // namespace ring3
