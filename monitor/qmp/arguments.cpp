#include "monitor/qmp/arguments.h"

#include <fmt/core.h>

#include <algorithm>

namespace ring3::qmp {
namespace {

bool Matches(const Json& value, Type type) {
  switch (type) {
    case Type::kString:
      return value.is_string();
    case Type::kNumber:
      return value.is_number_integer();
    case Type::kBool:
      return value.is_boolean();
    case Type::kObject:
      return value.is_object();
    case Type::kArray:
      return value.is_array();
  }
  return false;
}

const char* TypeName(Type type) {
  constexpr const char* kNames[] = {"string", "integer", "boolean", "object", "array"};
  return kNames[static_cast<unsigned>(type)];
}

}  // namespace

void CheckArguments(const std::vector<Parameter>& parameters, const Json& arguments) {
  for (const Parameter& p : parameters) {
    if (p.required && !arguments.contains(p.name))
      throw CommandError(kGeneric, fmt::format("Parameter '{}' is missing", p.name));
  }
  for (const auto& [key, value] : arguments.items()) {
    const auto known = std::ranges::find(parameters, key, &Parameter::name);
    if (known == parameters.end()) throw CommandError(kGeneric, fmt::format("Parameter '{}' is unexpected", key));
    if (!Matches(value, known->type))
      throw CommandError(kGeneric,
                         fmt::format("Invalid parameter type for '{}', expected: {}", key, TypeName(known->type)));
  }
}

const Json& Member(const Json& object, const char* name, Type type) {
  if (!object.is_object() || !object.contains(name))
    throw CommandError(kGeneric, fmt::format("Parameter '{}' is missing", name));
  if (!Matches(object[name], type))
    throw CommandError(kGeneric, fmt::format("Invalid parameter type for '{}', expected: {}", name, TypeName(type)));
  return object[name];
}

}  // namespace ring3::qmp
