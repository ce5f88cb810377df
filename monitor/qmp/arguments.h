// What QMP commands take, and the checks of it; what they answer.
#pragma once

#include <vector>

#include "monitor/qmp/commands.h"

namespace ring3::qmp {

/// The class of most errors.
inline constexpr const char* kGeneric = "GenericError";

/// The answer of commands that have none.
inline Json Nothing() { return Json::object(); }

enum class Type : uint8_t { kString, kNumber, kBool, kObject, kArray };

struct Parameter {
  const char* name;
  Type type;
  bool required = false;
};

/// Throws CommandError where the arguments are not such.
void CheckArguments(const std::vector<Parameter>& parameters, const Json& arguments);

/// A member of a nested object. Throws CommandError where there is none of that type.
const Json& Member(const Json& object, const char* name, Type type);

}  // namespace ring3::qmp
