// vnc_client PORT TEXT: types TEXT and Return into a VNC server's screen, moves the pointer, and says how large the screen
// is and how many of its pixels are lit after that. Exit code 0 when the screen changed meanwhile.
#include <rfb/rfbclient.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

namespace {

using std::chrono::milliseconds;

constexpr milliseconds kStep{30}, kPatience{20'000};

size_t LitPixels(const rfbClient* client) {
  size_t lit = 0;
  for (int i = 0; i < client->width * client->height; ++i) {
    uint32_t pixel;
    std::memcpy(&pixel, client->frameBuffer + i * 4, sizeof pixel);
    lit += (pixel & 0xFFFFFF) != 0;
  }
  return lit;
}

/// Takes what the server sends for a while.
bool Listen(rfbClient* client, milliseconds time) {
  const auto end = std::chrono::steady_clock::now() + time;
  while (std::chrono::steady_clock::now() < end) {
    const int ready = WaitForMessage(client, 10'000);
    if (ready < 0 || (ready > 0 && !HandleRFBServerMessage(client))) return false;
  }
  return true;
}

bool Strike(rfbClient* client, uint32_t keysym) {
  return SendKeyEvent(client, keysym, TRUE) && Listen(client, kStep) && SendKeyEvent(client, keysym, FALSE) &&
         Listen(client, kStep);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  rfbClient* client = rfbGetClient(8, 3, 4);
  client->serverHost = strdup("127.0.0.1");
  client->serverPort = std::atoi(argv[1]);
  client->canHandleNewFBSize = TRUE;
  client->appData.encodingsString = "tight zrle hextile raw";
  if (!rfbInitClient(client, nullptr, nullptr)) return 1;  // it cleans up
  if (!Listen(client, milliseconds(1000))) return 1;
  const size_t before = LitPixels(client);
  for (const char* c = argv[2]; *c; ++c) {
    if (!Strike(client, static_cast<unsigned char>(*c))) return 1;
  }
  if (!Strike(client, XK_Return)) return 1;
  for (int i = 0; i < 20; ++i) SendPointerEvent(client, 10 * i, 5 * i, i % 2);
  size_t after = before;
  for (milliseconds waited{0}; after == before && waited < kPatience; waited += milliseconds(200)) {
    if (!Listen(client, milliseconds(200))) return 1;
    after = LitPixels(client);
  }
  std::printf("%d by %d, %zu pixels lit before, %zu after\n", client->width, client->height, before, after);
  rfbClientCleanup(client);
  return after != before ? 0 : 1;
}
