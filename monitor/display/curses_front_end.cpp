// Text modes in the terminal. ncursesw draws and reads keys.
#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <clocale>
#include <csignal>
#include <cstdlib>
#include <optional>
#include <string>
#include <utility>

#include "monitor/cpu/fault.h"
#include "monitor/display/display.h"
#include "monitor/display/front_end.h"
#include "monitor/display/guest_input.h"
#include "monitor/display/host_thread.h"
#include "monitor/display/terminal_keys.h"
#include "monitor/terminal.h"

#define NCURSES_NOMACROS 1
#include <curses.h>

namespace ring3 {
namespace {

constexpr int kPollMs = 30, kEscapeMs = 25;
constexpr wint_t kEscape = 27, kCtrlA = 1;

/// The PC's colours have blue in bit 0 and red in bit 2, the terminal's the other way round.
short TerminalColour(unsigned colour) {
  return static_cast<short>((colour & 1) << 2 | (colour & 2) | (colour >> 2 & 1));
}

/// Pair 0 is the terminal's own: light grey on black.
short PairOf(unsigned foreground, unsigned background) { return static_cast<short>(background * 8 + (7 - foreground)); }

class CursesFrontEnd final : public FrontEnd {
 public:
  explicit CursesFrontEnd(const FrontEndContext& context);
  ~CursesFrontEnd() override;

 private:
  void Run();
  void ReadKey();
  void Take(const TerminalKey& key);
  void Draw();
  void DrawText() const;
  void DrawNotice() const;

  FrontEndContext context_;
  RawTerminal terminal_;
  SCREEN* screen_ = nullptr;
  Surface::Viewer& viewer_;
  TextScreen text_;
  int width_ = 0, height_ = 0;
  bool own_key_ = false;  // Ctrl-A was struck
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

void MakePairs() {
  if (!has_colors()) return;
  start_color();
  for (unsigned background = 0; background < 8; ++background) {
    for (unsigned foreground = 0; foreground < 8; ++foreground) {
      const short pair = PairOf(foreground, background);
      if (pair != 0 && pair < COLOR_PAIRS) init_pair(pair, TerminalColour(foreground), TerminalColour(background));
    }
  }
}

std::string Capability(const char* name) {
  const char* text = tigetstr(const_cast<char*>(name));
  return text && text != reinterpret_cast<const char*>(-1) ? text : "";
}

CursesFrontEnd::CursesFrontEnd(const FrontEndContext& context)
    : context_(context), viewer_(context.display.Screen().AddViewer(nullptr)) {
  // Resizing is this front end's business: no handler interrupts the guest.
  sigset_t resize;
  sigemptyset(&resize);
  sigaddset(&resize, SIGWINCH);
  pthread_sigmask(SIG_BLOCK, &resize, nullptr);
  setlocale(LC_ALL, "");
  set_escdelay(kEscapeMs);
  screen_ = newterm(nullptr, stdout, stdin);
  if (!screen_) {
    context_.display.Screen().RemoveViewer(viewer_);
    throw UsageError("--display curses: the terminal (TERM) is not known here");
  }
  // In this order what curses did is undone, however the program ends.
  RawTerminal::RestoreWith(Capability("sgr0") + Capability("rmkx") + Capability("cnorm") + Capability("rmcup"));
  raw();
  noecho();
  nonl();
  intrflush(stdscr, FALSE);
  keypad(stdscr, TRUE);
  timeout(kPollMs);
  MakePairs();
  context_.mailbox.Post([&display = context_.display] { display.AddWatcher(); });
  thread_ = StartHostThread([this] { Run(); });
}

CursesFrontEnd::~CursesFrontEnd() {
  stop_ = true;
  thread_.join();
  endwin();
  delscreen(screen_);
  RawTerminal::RestoreWith("");
  context_.display.Screen().RemoveViewer(viewer_);
}

void CursesFrontEnd::Run() {
  sigset_t resize;
  sigemptyset(&resize);
  sigaddset(&resize, SIGWINCH);
  pthread_sigmask(SIG_UNBLOCK, &resize, nullptr);
  while (!stop_) {
    Draw();
    ReadKey();
  }
}

/// Escape and a character that follows at once are Alt and that character.
void CursesFrontEnd::ReadKey() {
  wint_t code;
  const int kind = get_wch(&code);
  if (kind == ERR) return;
  if (kind == KEY_CODE_YES && code == KEY_RESIZE) {
    clear();
    return DrawText();
  }
  TerminalKey key{code, kind == KEY_CODE_YES, false};
  if (kind == OK && code == kEscape) {
    timeout(kEscapeMs);
    wint_t next;
    const int next_kind = get_wch(&next);
    timeout(kPollMs);
    if (next_kind != ERR) key = {next, next_kind == KEY_CODE_YES, true};
  }
  Take(key);
}

/// Ctrl-A x ends the machine, Ctrl-A twice is Ctrl-A, as on the serial console.
void CursesFrontEnd::Take(const TerminalKey& key) {
  const bool plain = !key.function && !key.alt;
  if (plain && key.code == kCtrlA && !own_key_) {
    own_key_ = true;
    return;
  }
  TerminalKey for_guest = key;
  if (std::exchange(own_key_, false) && plain) {
    if (key.code == 'x') return context_.quit();
    if (key.code == 'a') for_guest.code = kCtrlA;
  }
  if (const std::optional<KeyChord> chord = ChordOfTerminalKey(for_guest)) context_.input.Strike(*chord);
}

void CursesFrontEnd::Draw() {
  bool changed = false;
  context_.display.Screen().Look(viewer_, [&](const Frame& frame, const Changes& changes) {
    changed = changes.resized || changes.text;
    if (!changed) return;
    text_ = frame.text;
    width_ = frame.width;
    height_ = frame.height;
    if (changes.resized) erase();
  });
  if (!changed) return;
  text_.cells.empty() ? DrawNotice() : DrawText();
}

void CursesFrontEnd::DrawNotice() const {
  erase();
  const std::string notice = fmt::format("{} by {} pixels of graphics", width_, height_);
  mvaddstr(LINES / 2, std::max(0, (COLS - static_cast<int>(notice.size())) / 2), notice.c_str());
  curs_set(0);
  refresh();
}

void CursesFrontEnd::DrawText() const {
  for (int row = 0; row < std::min(text_.rows, LINES); ++row) {
    for (int column = 0; column < std::min(text_.columns, COLS); ++column) {
      const TextCell& cell = text_.cells[static_cast<size_t>(row * text_.columns + column)];
      const wchar_t text[] = {static_cast<wchar_t>(FromCodePage437(cell.character)), 0};
      attr_t style = cell.attribute & 0x08 ? A_BOLD : A_NORMAL;
      if (text_.blink && (cell.attribute & 0x80)) style |= A_BLINK;
      cchar_t drawn;
      setcchar(&drawn, text, style, PairOf(cell.attribute & 7u, cell.attribute >> 4 & 7u), nullptr);
      mvadd_wch(row, column, &drawn);
    }
  }
  const bool cursor = text_.cursor_row >= 0 && text_.cursor_row < LINES && text_.cursor_column < COLS;
  curs_set(cursor ? 1 : 0);
  if (cursor) move(text_.cursor_row, text_.cursor_column);
  refresh();
}

}  // namespace

std::unique_ptr<FrontEnd> StartCurses(const FrontEndContext& context) {
  if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) {
    throw UsageError("--display curses needs a terminal on standard input and output");
  }
  return std::make_unique<CursesFrontEnd>(context);
}

}  // namespace ring3
