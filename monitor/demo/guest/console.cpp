#include "console.h"

#include <stdarg.h>

#include "runtime.h"
#include "x86.h"

namespace demo {
namespace {

// 16550 registers, as offsets from the base port; DLAB exposes the divisor latch at offsets 0 and 1.
constexpr uint16_t kCom1 = 0x3F8;
constexpr uint16_t kData = 0, kInterruptEnable = 1, kFifoControl = 2, kLineControl = 3, kModemControl = 4,
                   kLineStatus = 5;
constexpr uint8_t kLineControl8n1 = 0x03, kLineControlDlab = 0x80;
constexpr uint8_t kFifoEnableAndClear = 0x07;
constexpr uint8_t kModemDtrRts = 0x03;
constexpr uint8_t kLineStatusThrEmpty = 0x20;
constexpr uint8_t kDivisor115200 = 1;
constexpr uint16_t kDebugPort = 0xE9;

bool copy_to_debug_port = false;

void PutByte(char c) {
  while ((ReadPort8(kCom1 + kLineStatus) & kLineStatusThrEmpty) == 0) {
  }
  WritePort8(kCom1 + kData, static_cast<uint8_t>(c));
  if (copy_to_debug_port) WritePort8(kDebugPort, static_cast<uint8_t>(c));
}

void PutChar(char c) {
  if (c == '\n') PutByte('\r');
  PutByte(c);
}

struct Field {
  bool left = false;
  char fill = ' ';
  unsigned width = 0;
};

void PutField(const char* text, unsigned length, Field field) {
  unsigned padding = field.width > length ? field.width - length : 0;
  if (!field.left) {
    for (unsigned i = 0; i < padding; ++i) PutChar(field.fill);
  }
  for (unsigned i = 0; i < length; ++i) PutChar(text[i]);
  if (field.left) {
    for (unsigned i = 0; i < padding; ++i) PutChar(' ');
  }
}

void PutNumber(uint32_t value, unsigned base, bool negative, Field field) {
  char digits[12];
  unsigned at = sizeof digits;
  do {
    digits[--at] = "0123456789ABCDEF"[value % base];
    value /= base;
  } while (value != 0);
  if (negative) digits[--at] = '-';
  PutField(digits + at, sizeof digits - at, field);
}

Field ParseField(const char*& format) {
  Field field;
  for (;; ++format) {
    if (*format == '-')
      field.left = true;
    else if (*format == '0')
      field.fill = '0';
    else
      break;
  }
  for (; *format >= '0' && *format <= '9'; ++format)
    field.width = field.width * 10 + static_cast<unsigned>(*format - '0');
  return field;
}

}  // namespace

void InitConsole(bool copy_to_e9) {
  copy_to_debug_port = copy_to_e9;
  WritePort8(kCom1 + kInterruptEnable, 0);
  WritePort8(kCom1 + kLineControl, kLineControlDlab);
  WritePort8(kCom1 + kData, kDivisor115200);
  WritePort8(kCom1 + kInterruptEnable, 0);  // the divisor's high byte while DLAB is set
  WritePort8(kCom1 + kLineControl, kLineControl8n1);
  WritePort8(kCom1 + kFifoControl, kFifoEnableAndClear);
  WritePort8(kCom1 + kModemControl, kModemDtrRts);
}

void Print(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  for (; *format != 0; ++format) {
    if (*format != '%') {
      PutChar(*format);
      continue;
    }
    ++format;
    Field field = ParseField(format);
    switch (*format) {
      case 's': {
        const char* text = va_arg(arguments, const char*);
        PutField(text, StringLength(text), field);
        break;
      }
      case 'c':
        PutChar(static_cast<char>(va_arg(arguments, int)));
        break;
      case 'u':
        PutNumber(va_arg(arguments, uint32_t), 10, false, field);
        break;
      case 'x':
        PutNumber(va_arg(arguments, uint32_t), 16, false, field);
        break;
      case 'd': {
        int value = va_arg(arguments, int);
        PutNumber(value < 0 ? 0u - static_cast<uint32_t>(value) : static_cast<uint32_t>(value), 10, value < 0, field);
        break;
      }
      default:
        PutChar(*format);
        break;
    }
  }
  va_end(arguments);
}

}  // namespace demo
