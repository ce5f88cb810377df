// Output over COM1 (16550 UART, polled), and to port E9h where asked for.
#pragma once

namespace demo {

/// 115200 baud, 8N1. `copy_to_e9` also writes each character to Bochs' debug port.
void InitConsole(bool copy_to_e9);

/// %s %c %u %d %x %%, with a width and a leading 0 or - as in printf.
[[gnu::format(printf, 1, 2)]] void Print(const char* format, ...);

}  // namespace demo
