"""SE-ResNet-20 on CIFAR-10, as it stands on one screen (`minise train` adds files and reports).

    python examples/train_cifar.py                     # downloads CIFAR-10 into datasets/
    python examples/train_cifar.py --data cue-digits   # draws its pictures on the spot
"""

import argparse

import minise
from minise import data, models, optim
from minise import functional as F
from minise.data.transforms import Compose, Normalize, RandomCrop, RandomHorizontalFlip

parser = argparse.ArgumentParser(description="Train SE-ResNet-20.")
parser.add_argument("--data", choices=("cifar10", "cue-digits"), default="cifar10")
parser.add_argument("--epochs", type=int, default=30)
parser.add_argument("--size", type=int, help="how many CueDigits to draw")
parser.add_argument("--backend", choices=("numpy", "cupy"), default="numpy")
options = parser.parse_args()

minise.use(options.backend)
minise.manual_seed(0)

normalize = transform = Normalize(data.CIFAR10_MEAN, data.CIFAR10_STD)
if options.data == "cifar10":
    train, test = (data.CIFAR10("datasets", train=part, download=True) for part in (True, False))
    transform = Compose([RandomCrop(32, padding=4), RandomHorizontalFlip(), normalize])
else:
    train, test = (data.CueDigits(train=part, size=options.size) for part in (True, False))
batches = data.DataLoader(train, 128, shuffle=True, transform=transform)
test_batches = data.DataLoader(test, 256, transform=normalize)

model = models.create("se_resnet20", num_classes=10)
optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4, nesterov=True)
schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=options.epochs)

for epoch in range(1, options.epochs + 1):
    model.train()
    total = 0.0
    for images, labels in batches:
        logits = model(minise.tensor(images))                  # (N, 10)
        loss = F.cross_entropy(logits, minise.tensor(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    schedule.step()

    model.eval()
    correct = 0
    with minise.no_grad():
        for images, labels in test_batches:
            correct += int((model(minise.tensor(images)).argmax(1).numpy() == labels).sum())
    accuracy = correct / len(test_batches.dataset)
    print(f"epoch {epoch}: loss {total / len(batches):.3f}, test accuracy {accuracy:.1%}")
